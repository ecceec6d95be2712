"""A translation model that others trained (NLLB, M2M100, mT5, ByT5), adapted by a handful of pairs, in three ways.

    memory      p = (1 - w) p_model + w p_memory: the decoder's states on the pairs and the token that follows each;
                neighbours of the present state vote (Khandelwal et al. 2021, arXiv:2010.00710)
    lexicon     p = (1 - w) p_model + w p_lexicon: English words that the lexicon of the pairs gives for words of the
                sentence, spelled in the model's tokens
    fine-tune   gradient steps on the pairs; how many is chosen on a fifth of them that is held out, then all are used

The weight w is chosen on the pairs too, by the likelihood of each pair's target where the memory or the lexicon is that
of the other pairs. Nothing of a task stays in the model. Decoding is greedy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.domains.translation.ibm1 import fit_lexicon
from regard.domains.translation.pairs import Pair
from regard.domains.translation.spelling import SpellingTree
from regard.domains.translation.tokens import Truecaser, romanise, tokenise_english, tokenise_source
from regard.errors import BodyError, ConfigError, did_you_mean
from regard.extras import import_extra
from regard.nn.pretrained.bodies import find_body

ADAPTATIONS = ("none", "memory", "lexicon", "fine-tune")
Glosses = Callable[[Sequence[Pair], Sequence[str]], list[dict[str, float]]]
"""Support pairs and sentences to English words with weights, one dictionary per sentence."""

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
_FOLDS = 5


def ibm1_glosses(support: Sequence[Pair], sentences: Sequence[str]) -> list[dict[str, float]]:
    """Of each word its best three translations by IBM model 1; words that no pair has, romanised."""
    tokens = [(tokenise_source(pair.source), tokenise_english(pair.target)) for pair in support]
    lexicon = fit_lexicon(tokens)
    caser = Truecaser.fit(pair.target for pair in support)
    glosses: list[dict[str, float]] = []
    for sentence in sentences:
        gloss: dict[str, float] = {}
        for word in tokenise_source(sentence):
            known = sorted(lexicon.translations(word).items(), key=lambda item: (-item[1], item[0]))[:3]
            for english, p in known or [(romanise(word), 0.5)]:
                form = caser.forms.get(english, english)
                gloss[form] = gloss.get(form, 0.0) + p
        glosses.append(gloss)
    return glosses


@dataclass(frozen=True)
class Seq2SeqOptions:
    """How a model is adapted.

    Args:
        adaptation: one of the three ways, or "none".
        weight: w; None chooses it on the pairs.
        n_neighbours, temperature: of the memory: weights exp(-d^2 / (temperature m)), m the neighbours' mean d^2.
        learning_rate, most_steps, batch: of fine-tuning, by Adam.
        validate_every: steps between looks at the held-out pairs.
        most_tokens: of a translation.
        source_language, target_language: codes that the tokenizer knows, of models that have many ("eng_Latn").
    """

    adaptation: str = "memory"
    weight: float | None = None
    n_neighbours: int = 8
    temperature: float = 1.0
    learning_rate: float = 1e-3
    most_steps: int = 100
    batch: int = 8
    validate_every: int = 10
    most_tokens: int = 200
    source_language: str | None = None
    target_language: str | None = None

    def __post_init__(self) -> None:
        if self.adaptation not in ADAPTATIONS:
            raise ConfigError(f"adaptation is {self.adaptation!r}: {did_you_mean(self.adaptation, ADAPTATIONS)}")
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise ConfigError(f"weight is {self.weight}: expected a share from 0 to 1, or None.")


@dataclass(frozen=True)
class _State:
    """What pairs have taught: a model, keys (N, D) and next tokens (N,) with the pair (N,) each is of, and w."""

    model: Any
    keys: Tensor | None
    tokens: Tensor | None
    of_pair: Tensor | None
    weight: float


class Seq2SeqTranslator:
    """Translates with a sequence-to-sequence model of transformers, from a folder.

    Args:
        path: folder with config.json, safetensors and the tokenizer.
        options: of the adaptation.
        glosses: the lexicon, for adaptation "lexicon"; IBM model 1 by default.

    Raises:
        BodyError: nothing there, or no sequence-to-sequence model.
    """

    def __init__(
        self, path: str | Path, options: Seq2SeqOptions | None = None, glosses: Glosses = ibm1_glosses
    ) -> None:
        transformers = import_extra("transformers", "pretrained")
        self.options, self.glosses = options or Seq2SeqOptions(), glosses
        folder = find_body(path).folder
        offline = {"local_files_only": True, "trust_remote_code": False}
        try:
            self.model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, **offline).eval()
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **offline)
        except (OSError, ValueError, KeyError) as error:
            raise BodyError(
                f"{folder} is no sequence-to-sequence model that transformers can load ({str(error)[:120]}): expected "
                "one such as NLLB, M2M100, mT5 or ByT5, with its tokenizer."
            ) from error
        if self.options.source_language is not None:
            self.tokenizer.src_lang = self.options.source_language
        self._first = self._first_tokens()

    def with_options(self, **changes: Any) -> Seq2SeqTranslator:
        """The same model under other options, without loading it again."""
        other = copy.copy(self)
        other.options = replace(self.options, **changes)
        other._first = other._first_tokens()
        return other

    def _first_tokens(self) -> list[int]:
        first = [self.model.config.decoder_start_token_id]
        if self.options.target_language is not None:
            code = self.tokenizer.convert_tokens_to_ids(self.options.target_language)
            if code in (None, self.tokenizer.unk_token_id):
                raise ConfigError(
                    f"target_language is {self.options.target_language!r}: the tokenizer has no such code."
                )
            first.append(code)
        return first

    def __call__(self, support: Sequence[Pair], sentences: Sequence[str]) -> list[str]:
        """Adapt and translate; nothing of it stays in the model."""
        if not sentences:
            return []
        state = self.adapt(support)
        glosses = self.glosses(support, sentences) if self.options.adaptation == "lexicon" and support else None
        return self.translate(state, sentences, glosses)

    # ---- adapting ----------------------------------------------------------------------------------------------------

    def adapt(self, support: Sequence[Pair]) -> _State:
        """What the pairs teach."""
        o = self.options
        if o.adaptation == "none" or not support:
            return _State(self.model, None, None, None, 0.0)
        if o.adaptation == "fine-tune":
            return _State(self._fine_tuned(support), None, None, None, 0.0)
        keys, tokens, of_pair, p_true = [], [], [], []
        for number, (logits, states, target) in enumerate(self._forced(self.model, support)):
            keys.append(states)
            tokens.append(target)
            of_pair.append(torch.full_like(target, number))
            p_true.append(logits.softmax(-1).gather(1, target[:, None])[:, 0])
        state = _State(self.model, torch.cat(keys), torch.cat(tokens), torch.cat(of_pair), o.weight or 0.0)
        if o.weight is not None:
            return state
        if o.adaptation == "memory":
            p_other = self._memory_of_others(state)
        else:
            p_other = self._lexicon_of_others(support, tokens)
        model = torch.cat(p_true)
        likelihood = {w: ((1 - w) * model + w * p_other + 1e-12).log().sum().item() for w in WEIGHTS}
        return replace(state, weight=max(likelihood, key=lambda w: (likelihood[w], -w)))

    def _memory_of_others(self, state: _State) -> Tensor:
        """(N,) probability that the memory of the other pairs gives to each token of the pairs."""
        assert state.keys is not None and state.tokens is not None and state.of_pair is not None
        p = []
        for number in state.of_pair.unique().tolist():
            own = state.of_pair == number
            rest = replace(state, keys=state.keys[~own], tokens=state.tokens[~own])
            votes = self._memory(rest, state.keys[own])
            p.append(votes.gather(1, state.tokens[own][:, None])[:, 0])
        return torch.cat(p)

    def _lexicon_of_others(self, support: Sequence[Pair], targets: Sequence[Tensor]) -> Tensor:
        """(N,) probability that the lexicon of other folds of the pairs gives to each token of the pairs."""
        found: dict[int, Tensor] = {}
        n_folds = min(_FOLDS, len(support))
        for fold in range(n_folds):
            others = [pair for i, pair in enumerate(support) if i % n_folds != fold]
            asked = [i for i in range(len(support)) if i % n_folds == fold]
            for i, gloss in zip(asked, self.glosses(others, [support[i].source for i in asked]), strict=True):
                tree, ids = self._tree(gloss), targets[i].tolist()
                steps = [tree.next_tokens(ids[:n]).get(token, 0.0) for n, token in enumerate(ids)]
                found[i] = torch.tensor(steps)
        return torch.cat([found[i] for i in range(len(support))])

    def _fine_tuned(self, support: Sequence[Pair]) -> Any:
        """A copy of the model after as many steps as helped the held-out pairs most."""
        held_out = support[:: max(2, min(5, len(support)))] if len(support) > 1 else []
        train = [pair for pair in support if pair not in held_out]
        n_steps = self.options.validate_every
        if held_out and train:
            best = float(self._loss(self.model, held_out).item())
            n_steps = 0
            for step, model in self._steps(train, self.options.most_steps):
                if step % self.options.validate_every == 0:
                    loss = float(self._loss(model, held_out).item())
                    if loss < best:
                        best, n_steps = loss, step
        return [(0, self.model), *self._steps(support, n_steps)][-1][1]

    def _steps(self, pairs: Sequence[Pair], n_steps: int) -> Iterator[tuple[int, Any]]:
        """The number of each step and the model after it; batches go round the pairs in one fixed order."""
        if n_steps == 0:
            return
        model = copy.deepcopy(self.model).eval()  # without dropout: the pairs are few, and steps are chosen
        optimizer = torch.optim.Adam(model.parameters(), lr=self.options.learning_rate)
        generator = torch.Generator().manual_seed(0)
        order: list[int] = []
        for step in range(1, n_steps + 1):
            if len(order) < self.options.batch:
                order += torch.randperm(len(pairs), generator=generator).tolist()
            batch, order = order[: self.options.batch], order[self.options.batch :]
            optimizer.zero_grad()
            with torch.enable_grad():
                self._loss(model, [pairs[i] for i in batch]).backward()
            optimizer.step()
            yield step, model

    def _loss(self, model: Any, pairs: Sequence[Pair]) -> Tensor:
        """Mean cross-entropy per target token."""
        inputs, targets = self._encoded([pair.source for pair in pairs]), self._targets(pairs)
        length = max(map(len, targets))
        labels = torch.tensor([[*ids, *[-100] * (length - len(ids))] for ids in targets])
        decoder = self._decoder_inputs(targets, length)
        logits = model(**inputs, decoder_input_ids=decoder).logits[:, len(self._first) - 1 :]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())

    # ---- what the model sees -----------------------------------------------------------------------------------------

    def _encoded(self, sentences: Sequence[str]) -> dict[str, Tensor]:
        encoded = self.tokenizer(list(sentences), return_tensors="pt", padding=True, truncation=True)
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def _targets(self, pairs: Sequence[Pair]) -> list[list[int]]:
        """Tokens of each target and the end."""
        end = self.model.config.eos_token_id
        plain = self.tokenizer([pair.target for pair in pairs], add_special_tokens=False)["input_ids"]
        return [[*ids[: self.options.most_tokens], end] for ids in plain]

    def _decoder_inputs(self, targets: Sequence[Sequence[int]], length: int) -> Tensor:
        pad = self.model.config.pad_token_id
        return torch.tensor([[*self._first, *ids[:-1], *[pad] * (length - len(ids))] for ids in targets])

    @torch.no_grad()
    def _forced(self, model: Any, pairs: Sequence[Pair]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each pair (T, V) logits, (T, D) decoder states and (T,) next tokens, its target given."""
        for pair in pairs:
            [target] = self._targets([pair])
            decoder = self._decoder_inputs([target], len(target))
            out = model(**self._encoded([pair.source]), decoder_input_ids=decoder, output_hidden_states=True)
            start = len(self._first) - 1
            yield out.logits[0, start:].float(), out.decoder_hidden_states[-1][0, start:].float(), torch.tensor(target)

    # ---- translating -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def translate(
        self, state: _State, sentences: Sequence[str], glosses: Sequence[dict[str, float]] | None = None
    ) -> list[str]:
        """Greedy translations; sentences do not see each other."""
        return [
            self._translate(state, sentence, None if glosses is None else self._tree(glosses[i]))
            for i, sentence in enumerate(sentences)
        ]

    def _translate(self, state: _State, sentence: str, tree: SpellingTree | None) -> str:
        model, end = state.model, self.model.config.eos_token_id
        inputs = self._encoded([sentence])
        encoded = model.get_encoder()(**inputs)
        made: list[int] = []
        # Newer versions of transformers renamed the argument and warn of the old name.
        cache_name = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
        step_input, cache = torch.tensor([self._first]), None
        while len(made) < self.options.most_tokens:
            out = model(
                encoder_outputs=encoded,
                attention_mask=inputs["attention_mask"],
                decoder_input_ids=step_input,
                use_cache=True,
                output_hidden_states=True,
                **{cache_name: cache},
            )
            p, cache = out.logits[0, -1].float().softmax(-1), out[cache_name]
            if tree is not None and state.weight > 0:
                other = torch.zeros_like(p)
                for token, share in tree.next_tokens(made).items():
                    other[token] = share
                p = (1 - state.weight) * p + state.weight * other
            elif self.options.adaptation == "memory" and state.keys is not None and state.weight > 0:
                votes = self._memory(state, out.decoder_hidden_states[-1][0, -1:].float())[0]
                p = (1 - state.weight) * p + state.weight * votes
            token = int(p.argmax())
            if token == end:
                break
            made.append(token)
            step_input = torch.tensor([[token]])
        return str(self.tokenizer.decode(made, skip_special_tokens=True)).strip()

    def _memory(self, state: _State, states: Tensor) -> Tensor:
        """(N, V) votes of the nearest keys to (N, D) states."""
        assert state.keys is not None and state.tokens is not None
        votes = torch.zeros(len(states), self.model.config.vocab_size)
        if len(state.keys) == 0:
            return votes
        squared = torch.cdist(states, state.keys).square()
        nearest, index = squared.topk(min(self.options.n_neighbours, squared.shape[1]), largest=False)
        scale = nearest.mean(1, keepdim=True).clamp(min=1e-12) * self.options.temperature
        weight = (-nearest / scale).softmax(1)
        return votes.scatter_add_(1, state.tokens[index], weight)

    def _tree(self, gloss: dict[str, float]) -> SpellingTree:
        """Words at the start of a sentence and after a space, as the tokenizer spells them."""

        def spelled(text: str) -> list[int]:
            return self.tokenizer(text, add_special_tokens=False)["input_ids"]

        inside: dict[tuple[int, ...], float] = {}
        before = len(spelled("a"))
        for word, share in gloss.items():
            tokens = tuple(spelled(f"a {word}")[before:])
            inside[tokens] = inside.get(tokens, 0.0) + share
        return SpellingTree({tuple(spelled(word)): share for word, share in gloss.items()}, inside)
