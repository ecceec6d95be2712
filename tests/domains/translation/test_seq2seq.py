"""A sequence-to-sequence model of others, adapted by pairs; a tiny random one, from a folder, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra pretrained")
pytest.importorskip("regex", reason="needs the extra translation")

from regard.domains.translation.pairs import Pair
from regard.domains.translation.seq2seq import WEIGHTS, Seq2SeqOptions, Seq2SeqTranslator, ibm1_glosses
from regard.domains.translation.spelling import SpellingTree
from regard.errors import BodyError, ConfigError

PAIRS = [Pair("hund", "A dog."), Pair("katz sa", "The cat ran."), Pair("hund sa", "A dog ran.")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random T5 that reads bytes, as ByT5 does."""
    from transformers import ByT5Tokenizer, T5Config, T5ForConditionalGeneration

    path = tmp_path_factory.mktemp("byt5")
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=384,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        dropout_rate=0.1,
    )
    T5ForConditionalGeneration(config).save_pretrained(path)
    ByT5Tokenizer().save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def translator(folder: Path) -> Seq2SeqTranslator:
    return Seq2SeqTranslator(folder, Seq2SeqOptions(most_tokens=20))


def test_without_adaptation_it_is_the_models_own_greedy_output(translator: Seq2SeqTranslator) -> None:
    plain = translator.with_options(adaptation="none")
    inputs = plain.tokenizer(["hund sa"], return_tensors="pt")
    made = plain.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=20)
    assert plain(PAIRS, ["hund sa"]) == [plain.tokenizer.decode(made[0], skip_special_tokens=True).strip()]
    assert plain([], ["hund sa"]) == plain(PAIRS, ["hund sa"]) and plain(PAIRS, []) == []


def test_the_memory_alone_repeats_the_target_of_its_pair(translator: Seq2SeqTranslator) -> None:
    memory = translator.with_options(weight=1.0, n_neighbours=1)
    assert memory(PAIRS, [pair.source for pair in PAIRS]) == [pair.target for pair in PAIRS]


def test_neighbours_vote_by_distance(translator: Seq2SeqTranslator) -> None:
    state = translator.with_options(weight=0.5).adapt(PAIRS)
    queries = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    votes = translator._memory(state, queries)
    for query, vote in zip(queries, votes, strict=True):
        squared = ((state.keys - query) ** 2).sum(1)
        nearest = squared.sort()[1][:8]
        weight = torch.exp(-squared[nearest] / squared[nearest].mean())
        expected = torch.zeros(384)
        for number, w in zip(nearest.tolist(), weight / weight.sum(), strict=True):
            expected[state.tokens[number]] += w
        torch.testing.assert_close(vote, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("adaptation", ["memory", "lexicon"])
def test_the_weight_is_chosen_on_the_pairs(translator: Seq2SeqTranslator, adaptation: str) -> None:
    """A random model is worth nothing, so that what the pairs say has nearly all the weight."""
    chosen = translator.with_options(adaptation=adaptation).adapt(PAIRS).weight
    assert chosen in WEIGHTS and chosen > 0.1
    one = translator.with_options(adaptation=adaptation).adapt(PAIRS[:1])
    assert one.weight == 0.0  # no other pair, nothing to choose by


def test_the_lexicon_alone_writes_its_words(translator: Seq2SeqTranslator) -> None:
    lexicon = translator.with_options(adaptation="lexicon", weight=0.999)
    [text] = lexicon(PAIRS, ["hund"])
    known = {word for gloss in ibm1_glosses(PAIRS, ["hund"]) for word in gloss}
    assert set(text.split()[:-1]) <= known and len(text.split()) > 2


def test_fine_tuning_learns_the_pairs_and_leaves_the_model(translator: Seq2SeqTranslator) -> None:
    before = {name: p.clone() for name, p in translator.model.state_dict().items()}
    tuned = translator.with_options(adaptation="fine-tune", learning_rate=5e-3, most_steps=40)
    state = tuned.adapt([PAIRS[0]] * 4)
    with torch.no_grad():
        losses = [float(translator._loss(model, PAIRS[:1])) for model in (translator.model, state.model)]
    assert losses[1] < losses[0] - 1
    assert all(torch.equal(before[name], p) for name, p in translator.model.state_dict().items())


def test_steps_that_help_nobody_are_not_taken(translator: Seq2SeqTranslator) -> None:
    """At a rate that destroys the model the held-out pairs choose no step at all."""
    tuned = translator.with_options(adaptation="fine-tune", learning_rate=50.0, most_steps=10)
    assert tuned.adapt(PAIRS).model is translator.model


@pytest.mark.parametrize("adaptation", ["memory", "lexicon", "fine-tune"])
def test_sentences_do_not_see_each_other(translator: Seq2SeqTranslator, adaptation: str) -> None:
    adapted = translator.with_options(adaptation=adaptation, most_steps=10, most_tokens=8)
    sentences = ["hund", "katz sa hund"]
    assert adapted(PAIRS, sentences) == [adapted(PAIRS, [sentence])[0] for sentence in sentences]


def test_wrong_folders_and_options_say_so(tmp_path: Path, translator: Seq2SeqTranslator) -> None:
    with pytest.raises(BodyError):
        Seq2SeqTranslator(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'memory'"):
        Seq2SeqOptions(adaptation="memry")
    with pytest.raises(ConfigError, match="a share from 0 to 1"):
        Seq2SeqOptions(weight=2.0)


def test_words_are_spelled_token_by_token() -> None:
    tree = SpellingTree({(1, 2): 3.0, (1, 3): 1.0}, {(9, 1, 2): 1.0, (9, 4): 1.0})
    assert tree.next_tokens([]) == {1: 1.0}
    assert tree.next_tokens([1]) == {2: 0.75, 3: 0.25}
    assert tree.next_tokens([1, 2]) == {9: 1.0}
    assert tree.next_tokens([1, 2, 9]) == {1: 0.5, 4: 0.5}
    assert tree.next_tokens([7]) == {}
