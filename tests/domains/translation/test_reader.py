"""Sentences to tensors and back; episodes of languages; and a learner that is trained, saved, loaded and translates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("regex", reason="needs the extra translation")
pytest.importorskip("anyascii", reason="needs the extra translation")
pytest.importorskip("sacrebleu", reason="needs the extra translation")

from regard.domains.translation.data import PairsData
from regard.domains.translation.domain import TRANSLATION, PairsOptions
from regard.domains.translation.pairs import Pair
from regard.domains.translation.reader import SentenceReader
from regard.domains.translation.tokens import normalise_english, tokenise_english
from regard.errors import ConfigError, DataError
from regard.estimators import FewShotTranslator
from regard.evaluation.chrf import sentence_chrf
from regard.evaluation.evaluate_translations import calibrate_translations, evaluate_translations
from regard.evaluation.translate import AdaptedTranslator, Decoding
from regard.learners.lexicon_translator import LexiconTranslator
from regard.nn.words import WordEncoder

SUBJECTS, VERBS, OBJECTS = ("tom", "mary", "the cat", "the dog"), ("sees", "likes", "eats"), ("fish", "bread", "a tree")


def pairs(language: str, n: int = 60) -> list[Pair]:
    """A language whose words are the English ones backwards, verb last."""
    rng = np.random.default_rng(len(language))
    made = []
    for _ in range(n):
        s, v, o = (str(rng.choice(x)) for x in (SUBJECTS, VERBS, OBJECTS))
        words = [*s.split(), *o.split(), v]
        made.append(Pair(" ".join(w[::-1] + language[0] for w in words), f"{s} {v} {o}.".capitalize(), language))
    return made


@pytest.fixture(scope="module")
def data() -> PairsData:
    rows = [pair for language in ("aaa", "bbb", "cc", "dd") for pair in pairs(language)]
    return PairsData.of(TRANSLATION, "invented", rows, ["The cat likes Tom."], ["cc"], ["aaa", "dd"], 4, 60)


def test_a_sentence_survives_the_way_there_and_back() -> None:
    reader = SentenceReader(["hello", "tom", "responsibility"], {"tom": "Tom"})
    assert tuple(reader(["Bonjour, Tom !"])["latin"].shape) == (1, 4)
    said = "Hello, Tom's responsibility."
    assert reader.write(reader.targets([said])[0].tolist()) == said
    again = SentenceReader.from_dict(reader.to_dict())
    assert (again.words, again.forms) == (reader.words, reader.forms)


def test_no_training_task_has_the_english_of_a_query(data: PairsData) -> None:
    banned = {normalise_english(q.target) for language in data.protocol.languages.values() for q in language.queries}
    kept = {normalise_english(pair.target) for rows in data.pairs.values() for pair in rows}
    assert banned
    assert not banned & (kept | set(map(normalise_english, data.english)))


def test_an_episode_is_a_function_of_its_number(data: PairsData) -> None:
    source = data.training(PairsOptions(n_shot=(0, 20), n_query=4), 0)
    whole, alone = source([0, 1, 2, 3]), source([2])
    kept = int(alone.support.weight.sum())
    assert torch.equal(whole.support.y[2, :kept, : alone.support.y.shape[2]], alone.support.y[0, :kept])
    assert int(whole.support.weight[2].sum()) == kept
    assert whole.check().query_y.shape[1] == 4


def learner_of(data: PairsData) -> LexiconTranslator:
    torch.manual_seed(0)
    encoder = WordEncoder(data.encoder["vocabulary"], n_features=32, n_rows=512, d_row=16)
    return LexiconTranslator(encoder, n_heads=2, n_english=500)


def test_it_learns_and_is_evaluated_per_language(data: PairsData) -> None:
    learner, source = learner_of(data), data.training(PairsOptions(n_shot=20, n_query=8), 0)
    learner.remember_english(data.english_tokens())
    optimizer = torch.optim.Adam(learner.parameters(), 4e-3)
    losses = []
    for step in range(25):
        loss = learner.loss(source([2 * step, 2 * step + 1])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.7 * losses[0]
    test = data.source("test", PairsOptions(n_shot=20, n_query=4), 0)
    result = evaluate_translations(learner, test, 2, decoding=Decoding(consensus=False))
    assert set(result.metrics) == {"chrf", "bleu"}
    assert len(result.per_episode["chrf"]) == 2


def test_reasons_name_pairs_and_evidence_is_of_them(data: PairsData) -> None:
    shown = pairs("aaa", 12)
    adapted = AdaptedTranslator.of(learner_of(data), data.reader, shown)
    sentences = [shown[0].source, "xyzzy"]
    for answer in adapted.translate(sentences, reasons=True):
        assert len(answer.evidence) == 12
        assert 0 <= answer.confidence <= 1
        for reason in answer.reasons:
            assert reason.pair is None or reason.pair_target in tokenise_english(shown[reason.pair].target, False) + [
                w.lower() for w in tokenise_english(shown[reason.pair].target, False)
            ]
    # The sentence of a pair is that pair.
    assert adapted.translate(sentences[:1])[0].text == shown[0].target
    alone = adapted.translate(sentences[1:])[0].text
    assert alone == adapted.translate(sentences)[1].text


def test_a_calibrated_confidence_is_the_mean_chrf(data: PairsData) -> None:
    learner, source = learner_of(data), data.source("validation", PairsOptions(n_shot=20, n_query=6), 0)
    reader = SentenceReader(data.reader.words, data.reader.forms, calibrate_translations(learner, [source]))
    found, chrf = [], []
    for number in range(len(source.languages)):
        given, queries = source.part(number)
        adapted = AdaptedTranslator.of(learner, reader, given)
        for answer, pair in zip(adapted.translate([query.source for query in queries]), queries, strict=True):
            found.append(answer.confidence)
            chrf.append(sentence_chrf(answer.text, pair.target) / 100)
    # What a logistic fit with a constant has, but for its small ridge.
    assert np.mean(found) == pytest.approx(np.mean(chrf), abs=0.02)


def test_a_pair_of_weight_zero_and_pairs_added_later(data: PairsData) -> None:
    shown = pairs("aaa", 10)
    trained = learner_of(data)
    reader = data.reader
    weight = [1.0] * 9 + [0.0]
    asked = [shown[3].source, shown[9].source]
    for options in (Decoding(), Decoding(consensus=False)):
        a = AdaptedTranslator.of(trained, reader, shown, weight, options).translate(asked)
        b = AdaptedTranslator.of(trained, reader, shown[:9], None, options).translate(asked)
        assert [answer.text for answer in a] == [answer.text for answer in b]


def test_capitals_are_kept_where_those_of_the_pairs_are_kept(data: PairsData) -> None:
    """Names have a capital on both sides, and the nouns of German on one."""
    names = [Pair("Ich sehe Tom", "I see Tom."), Pair("Da ist Mary", "Mary is there, Tom.")]
    nouns = [Pair("Der Hund sieht das Haus", "The dog sees the house."), Pair("Ein Baum und Fisch", "A tree and fish.")]
    for shown, written in ((names, "Quux"), (nouns, "quux"), ([*nouns, *names, *names, *names], "Quux")):
        adapted = AdaptedTranslator.of(learner_of(data), data.reader, shown)
        found = adapted.translate(["ein Quux"])[0]
        texts = " ".join([found.text[1:], *(text[1:] for text in found.others)])
        assert written in texts and written.swapcase()[:1] + "uux" not in texts


def test_what_cannot_be_is_said(data: PairsData) -> None:
    with pytest.raises(ConfigError, match="read no pairs"):
        FewShotTranslator("nowhere").predict(["x y"])
    with pytest.raises(DataError, match="only 1 pair"):
        FewShotTranslator("nowhere").fit(["a b"], ["The cat."])
    with pytest.raises(DataError, match="sample_weight"):
        FewShotTranslator("nowhere").fit(["ab cd", "ef gh"], ["The cat.", "A dog."], sample_weight=[1.0])
