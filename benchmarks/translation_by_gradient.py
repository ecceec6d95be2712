"""Translation by gradient: what the same weights reach if pairs are not shown to them but trained on.

    python benchmarks/translation_by_gradient.py --data FOLDER [--trained RUN] [--methods NAME ...]
    python benchmarks/translation_by_gradient.py --data FOLDER --test FILE.jsonl.gz

The opponents of reading a lexicon in context, on the same queries and supports. All but the first see no pair beside a
sentence; they differ in the weights that the support is trained into.

    in context       the translator that ships, without a gradient
    no support       the same, shown no pairs
    fine-tuned       the same, trained on the pairs
    multilingual     trained on for as long as the next two, without pairs beside the sentence; then on the pairs
    FOMAML, Reptile  trained on so that few steps on the pairs suffice (first-order MAML; Gu et al. 2018,
                     arXiv:1808.08437; Nichol et al. 2018, arXiv:1803.02999); then on the pairs
    from scratch     new weights, trained on the pairs alone

Steps and rate of the training on pairs are the better of a few on validation languages, for each method. No memory is
looked into. A run that was stopped is resumed by the same command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    out_with_test,
    provenance,
    read_document,
    render_after,
    table,
    write_document,
)
from regard.domains.translation.domain import TEST, VALIDATION
from regard.domains.translation.pairs import Pair, by_language, read_pairs
from regard.domains.translation.protocol import Protocol, fix_queries
from regard.domains.translation.reader import SentenceReader
from regard.domains.translation.source import TrainingLanguages
from regard.domains.translation.tokens import normalise_english
from regard.episode import Episode, Support
from regard.evaluation.chrf import Scores, mean_scores, paired_scores, score_translations
from regard.evaluation.intervals import Interval
from regard.evaluation.translate import AdaptedTranslator, Decoding
from regard.learners.base import Learner
from regard.learners.lexicon_translator import LexiconTranslator
from regard.recipes.components import build_learner
from regard.recipes.trained import TrainedLearner

OUT = "translation_by_gradient.json"
METHODS = ("in context", "no support", "fine-tuned", "multilingual", "FOMAML", "Reptile", "from scratch")
SHOTS = (50, 200)
TRIED = ((30, 3e-4), (100, 3e-4), (100, 1e-3))
"""Steps and rate of training on pairs; from scratch takes four times the steps."""
_BATCH = 16
_INNER_STEPS, _INNER_RATE = 3, 3e-4


def parser() -> Any:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        OUT,
        data="the folder that holds the folder tatoeba (tatoeba_88langs.jsonl.gz)",
        test="a file of sentence pairs of unseen languages",
        seed=0,
    )
    made.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    made.add_argument(
        "--trained", metavar="RUN", default="translation", help="checkpoint instead of the one that ships"
    )
    made.add_argument("--queries", type=int, default=100, help="sentences per language")
    made.add_argument("--steps", type=int, default=400, help="of multilingual, FOMAML and Reptile training")
    return made


# ---- training --------------------------------------------------------------------------------------------------------


def without_support(x: Mapping[str, Tensor], y: Tensor, weight: Tensor) -> Episode:
    """Sentences (B, Q, ...) to translate from no pairs."""
    one = {key: tensor[:, :1] for key, tensor in x.items()}
    support = Support(one, y[:, :1], torch.zeros_like(weight[:, :1]), 0)
    return Episode(support, dict(x), y, weight)


def descend(
    learner: Learner, episodes: Callable[[int], Episode], steps: int, rate: float, trainable: Sequence[Tensor] = ()
) -> None:
    """AdamW on the mean loss of `episodes(step)`, in place, clipped to 1, the rate falling to 0 over the last third."""
    chosen = list(trainable) or list(learner.parameters())
    optimiser = torch.optim.AdamW(chosen, lr=rate, weight_decay=0.01)
    learner.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (steps - step) / max(1.0, steps / 3))
        optimiser.zero_grad()
        learner.loss(episodes(step)).mean().backward()
        nn.utils.clip_grad_norm_(chosen, 1.0)
        optimiser.step()
    learner.eval()


def fine_tuned(
    learner: Learner, reader: SentenceReader, pairs: Sequence[Pair], steps: int, rate: float, seed: int = 0
) -> Learner:
    """A copy that was trained on the pairs, 16 a step, without any beside the sentence."""
    copy = deepcopy(learner)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x, y = reader([pair.source for pair in pairs]), reader.targets([pair.target for pair in pairs])

    def episode(_: int) -> Episode:
        rows = torch.from_numpy(rng.choice(len(pairs), min(_BATCH, len(pairs)), replace=False))
        return without_support(
            {key: tensor[rows][None] for key, tensor in x.items()}, y[rows][None], torch.ones(1, len(rows))
        )

    descend(copy, episode, steps, rate)
    return copy


def multilingual(learner: Learner, source: TrainingLanguages, steps: int, rate: float = 3e-4) -> None:
    """Trained on, in place, on four languages a step without pairs beside the sentence."""

    def episode(step: int) -> Episode:
        tasks = source(np.arange(4 * step, 4 * step + 4))
        return without_support(tasks.query_x, tasks.query_y, tasks.query_weight)

    descend(learner, episode, steps, rate)


def meta_trained(learner: Learner, source: TrainingLanguages, steps: int, reptile: bool, rate: float = 3e-4) -> None:
    """First-order MAML or Reptile, in place: four languages a step, three inner steps of Adam on pairs of each.

    FOMAML follows the gradient of other pairs at the weights that the inner steps reach; Reptile goes towards them.
    """
    outer = torch.optim.AdamW(learner.parameters(), lr=rate, weight_decay=0.01)
    learner.train()
    for step in range(steps):
        total = [torch.zeros_like(p) for p in learner.parameters()]
        for number in range(4 * step, 4 * step + 4):
            task = source([number])
            support, fast = task.support, deepcopy(learner)
            inner = torch.optim.Adam(fast.parameters(), lr=_INNER_RATE)
            for part in range(_INNER_STEPS + (not reptile)):
                inner.zero_grad()
                if part < _INNER_STEPS:
                    rows = slice(part * _BATCH, (part + 1) * _BATCH)
                    shown = without_support(
                        {key: tensor[:, rows] for key, tensor in support.x.items()},
                        support.y[:, rows],
                        support.weight[:, rows],
                    )
                    fast.loss(shown).mean().backward()
                    inner.step()
                else:
                    fast.loss(without_support(task.query_x, task.query_y, task.query_weight)).mean().backward()
            for sum_, p, q in zip(total, fast.parameters(), learner.parameters(), strict=True):
                change = (q.detach() - p.detach()) if reptile else p.grad
                sum_ += 0 if change is None else change / 4
        for sum_, q in zip(total, learner.parameters(), strict=True):
            q.grad = sum_ / (_INNER_RATE * _INNER_STEPS) if reptile else sum_
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        outer.step()
    learner.eval()


# ---- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """Weights that the pairs are trained into, and how."""

    learner: Learner
    reader: SentenceReader
    steps: int
    rate: float

    def translate(self, pairs: Sequence[Pair], sentences: Sequence[str]) -> list[str]:
        """After training on the pairs, none of which is shown."""
        tuned = fine_tuned(self.learner, self.reader, pairs, self.steps, self.rate)
        return translated(tuned, self.reader, [], sentences)


def translated(learner: Learner, reader: SentenceReader, pairs: Sequence[Pair], sentences: Sequence[str]) -> list[str]:
    """By beam search alone."""
    adapted = AdaptedTranslator.of(learner, reader, list(pairs), decoding=Decoding(consensus=False))
    return [answer.text for answer in adapted.translate(list(sentences))]


def choose_steps(
    learner: Learner, reader: SentenceReader, validation: Protocol, times: int = 1, n_queries: int = 30
) -> tuple[int, float]:
    """The best of `TRIED` by mean chrF from most pairs, on two validation languages."""

    def chrf(steps: int, rate: float) -> float:
        start = Start(learner, reader, steps, rate)
        two = Protocol(dict(list(validation.languages.items())[:2]), validation.banned, validation.left_out)
        return float(np.mean([s[0] for s in score_all(two, start.translate, max(SHOTS), n_queries).values()]))

    return max(((times * steps, rate) for steps, rate in TRIED), key=lambda pair: chrf(*pair))


def start_of(method: str, trained: TrainedLearner, source: TrainingLanguages, steps: int) -> Learner:
    """The weights that a method trains the pairs into."""
    learner = deepcopy(trained.learner).float()
    torch.manual_seed(0)
    if method == "from scratch":
        new = build_learner(trained.spec)
        if isinstance(new, LexiconTranslator) and isinstance(learner, LexiconTranslator):
            new.english = learner.english  # counted, not trained
        return new
    if method == "multilingual":
        multilingual(learner, source, steps)
    elif method in ("FOMAML", "Reptile"):
        meta_trained(learner, source, steps, method == "Reptile")
    return learner


def main() -> None:
    """Measure, write, render."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    arguments.out = out_with_test(arguments, OUT)
    document = read_document(arguments.out) or {"scores": {}, "chosen": {}, "seconds": {}}
    trained = TrainedLearner.shared(arguments.trained)
    reader = trained.reader()
    everything = read_pairs(arguments.data / "tatoeba" / "tatoeba_88langs.jsonl.gz")
    languages = by_language(everything)
    kept = fix_queries({language: languages[language] for language in (*VALIDATION, *TEST)})
    validation = fix_queries({language: languages[language] for language in VALIDATION})
    if arguments.test:
        known = {normalise_english(pair.target) for pair in everything}
        tested = fix_queries(by_language(read_pairs(arguments.test)), trained_on=known, seed=arguments.seed)
    else:
        tested = fix_queries({language: languages[language] for language in TEST})
    training = {x: kept.training(rows) for x, rows in languages.items() if x not in kept.languages}
    training = {x: tested.training(rows) for x, rows in training.items()}
    source = TrainingLanguages(training, [], lambda _: False, (50, 50), _BATCH, seed=arguments.seed)
    document |= {"languages": sorted(tested.languages), "steps": arguments.steps, "queries": arguments.queries}
    for method in arguments.methods:
        if method in document["scores"]:
            continue
        began = time.process_time()
        scores: dict[str, dict[str, list[float]]] = {}
        if method in ("in context", "no support"):
            learner = trained.learner.float()
            for n_pairs in SHOTS if method == "in context" else (0,):
                scores[str(n_pairs)] = score_all(
                    tested, partial(translated, learner, reader), n_pairs, arguments.queries
                )
        else:
            learner = start_of(method, trained, source, arguments.steps)
            document["seconds"][method] = round(time.process_time() - began)
            chosen = choose_steps(learner, reader, validation, 4 if method == "from scratch" else 1)
            document["chosen"][method] = list(chosen)
            start = Start(learner, reader, *chosen)
            for n_pairs in SHOTS:
                scores[str(n_pairs)] = score_all(tested, start.translate, n_pairs, arguments.queries)
        document["scores"][method] = scores
        document |= provenance(seed=arguments.seed, interval="t over languages")
        write_document(arguments.out, document, indent=None)
        print(method, {n: mean_text(as_scores(found)) for n, found in scores.items()}, flush=True)
    print(page(document))
    render_after(arguments, SECTIONS)


def score_all(
    protocol: Protocol, translate: Callable[[Sequence[Pair], Sequence[str]], list[str]], n_pairs: int, n_queries: int
) -> dict[str, list[float]]:
    """chrF and BLEU of each language."""
    found = {}
    for name, language in protocol.languages.items():
        if len(language.pool) >= n_pairs:
            queries = language.queries[:n_queries]
            given = translate(language.support(n_pairs), [query.source for query in queries])
            scores = score_translations(given, [query.target for query in queries])
            found[name] = [round(scores.chrf, 3), round(scores.bleu, 3)]
    return found


# ---- the page --------------------------------------------------------------------------------------------------------


def as_scores(found: Mapping[str, Sequence[float]]) -> dict[str, Scores]:
    return {language: Scores(*values) for language, values in found.items()}


def mean_text(scores: Mapping[str, Scores]) -> str:
    """Both metrics with their intervals."""
    values = mean_scores(scores).values()
    return " / ".join(f"{v.mean:.1f} ± {v.half_width:.1f}" if isinstance(v, Interval) else f"{v:.1f}" for v in values)


def page(document: Document) -> str:
    """Methods by number of pairs, and what reading in context gains over each."""
    if not document.get("scores"):
        return "Not measured yet."
    rows = []
    for method in METHODS:
        found = document["scores"].get(method)
        if not found:
            continue
        cells = []
        for n_pairs in map(str, SHOTS):
            scores = as_scores(found.get(n_pairs) or found["0"])
            ours = as_scores(document["scores"]["in context"][n_pairs])
            gain = " / ".join(
                f"{d.mean:+.1f} [{d.low:+.1f}, {d.high:+.1f}]" for d in paired_scores(ours, scores).values()
            )
            cells += [mean_text(scores), "" if method == "in context" else gain]
        rows.append([method, *cells])
    head = [cell for n in SHOTS for cell in (f"{n} pairs", "in context ahead by")]
    lines = [
        f"{len(document['languages'])} languages, {document['queries']} sentences each, no memory of pairs, chrF / BLEU; "
        f"multilingual, FOMAML and Reptile were trained on for {document['steps']} further steps:",
        table(["method", *head], rows),
        f"Made by {made_by(document)} Seed {document['seed']}.",
    ]
    return "\n\n".join(lines)


SECTIONS = [Section("translation_by_gradient", OUT, page)]

if __name__ == "__main__":
    main()
