"""An explanation of a translation draws its reasons, and deletes the pairs that it names."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("regex", reason="needs the extra translation")
pytest.importorskip("anyascii", reason="needs the extra translation")
pytest.importorskip("sacrebleu", reason="needs the extra translation")

from tests.domains.translation.test_reader import pairs
from typer.testing import CliRunner

from regard.cli import app
from regard.domains.translation.alignment import describe_reason
from regard.estimators import FewShotTranslator
from regard.evaluation.chrf import sentence_chrf

SHOWN = pairs("zz", 12)
ASKED = [SHOWN[3].source, pairs("zz", 40)[30].source, pairs("zz", 40)[31].source]


@pytest.fixture(scope="module")
def model() -> FewShotTranslator:
    return FewShotTranslator("translation").fit([p.source for p in SHOWN], [p.target for p in SHOWN])


def test_a_deleted_pair_is_a_pair_that_was_never_read(model: FewShotTranslator) -> None:
    found = model.explain(ASKED)
    assert [of.answer for of in found.answers] == model.translate(ASKED, reasons=True)
    effects = [(of, effect) for of in found.answers for effect in of.effects]
    assert effects
    for of, effect in effects:
        kept = [pair for i, pair in enumerate(SHOWN) if i != effect.pair]
        alone = FewShotTranslator("translation").fit([p.source for p in kept], [p.target for p in kept])
        assert alone.predict([of.sentence]) == [effect.without]
        assert effect.evidence == of.answer.evidence[effect.pair]
        assert effect.change == pytest.approx(100 - sentence_chrf(effect.without, of.answer.text), abs=0.01)


def test_a_pair_that_says_it_already_is_named_first(model: FewShotTranslator) -> None:
    [of, *_] = model.explain(ASKED).answers
    assert of.answer.text == SHOWN[3].target
    assert SHOWN[of.effects[0].pair].target == SHOWN[3].target


def test_the_picture_is_of_the_reasons(model: FewShotTranslator) -> None:
    for of in model.explain(ASKED, n_pairs=0).answers:
        assert of.picture.text == "; ".join(map(describe_reason, of.answer.reasons))
        words = ["".join(text.itertext()) for text in ElementTree.fromstring(of.picture.html).findall("text")]
        assert words[: len(of.sentence.split())] == of.sentence.lower().split()


def test_trust_wants_two_sentences(model: FewShotTranslator) -> None:
    assert model.explain(ASKED[:1]).trust is None and model.explain(ASKED[:1]).believed is None
    trust = model.explain(ASKED).trust
    assert trust is not None and trust.low <= trust.mean <= trust.high


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    support, query, page = tmp_path / "pairs.tsv", tmp_path / "text.txt", tmp_path / "page.html"
    support.write_text("".join(f"{pair.source}\t{pair.target}\n" for pair in SHOWN))
    query.write_text("\n".join([*ASKED[:2], "<b>"]))
    words = ["explain", "translation", "--support", str(support), "--query", str(query), "--out", str(page)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert text.count('<svg class="alignment"') == text.count('<section class="why"') == 3
    assert "deleting the pair that is named first" in text and "expected chrF" in text
    assert "&lt;b&gt;" in text and "<b><" not in text
    assert "http" not in text.replace("http-equiv", "")
    query.write_text("\n")
    result = CliRunner().invoke(app, words)
    assert result.exit_code != 0 and "no sentence to translate" in str(result.exception)
