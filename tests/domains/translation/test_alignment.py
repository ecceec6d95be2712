"""The drawing of reasons says what the reasons say."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from regard.domains.translation.alignment import describe_reason, draw_alignment


@dataclass(frozen=True)
class Reason:
    word: str
    source: str
    share: float
    sentence_word: str | None = None
    pair: int | None = None
    pair_word: str | None = None
    pair_target: str | None = None


TOKENS = ["der", "<hund>", "sieht", "der", "猫"]
REASONS = [
    Reason("The", "gloss", 0.9, "der", 3, "der", "the"),
    Reason("dog", "gloss", 0.5, "<hund>", 0, "hunde", "dogs"),
    Reason("sees", "vocabulary", 0.7),
    Reason("the", "memory", 0.2, "der", 3, "der", "the"),
    Reason("mao", "copy", 1.0, "猫"),
]


def test_every_word_has_its_line_and_its_note() -> None:
    drawing = draw_alignment(TOKENS, REASONS)
    root = ElementTree.fromstring(drawing.html)
    lines, texts = root.findall("line"), root.findall("text")
    assert len(lines) == 4  # "sees" comes from training
    shares = [float(line.get("stroke-opacity", 0)) for line in lines]
    assert shares[3] == 1.0 and shares[0] > shares[1] > shares[2]
    shown = ["".join(text.itertext()) for text in texts]
    assert shown[:5] == TOKENS and any(s.endswith("pair 4") for s in shown) and any(s.endswith("copied") for s in shown)
    assert root.get("aria-label") == drawing.text == "; ".join(describe_reason(r) for r in REASONS)


def test_equal_words_share_the_lines() -> None:
    lines = ElementTree.fromstring(draw_alignment(TOKENS, REASONS).html).findall("line")
    assert lines[0].get("x1") != lines[2].get("x1")  # the second "the" comes from the second "der"


def test_all_stands_within_the_picture() -> None:
    root = ElementTree.fromstring(draw_alignment(TOKENS * 3, REASONS).html)
    width = float(root.get("width", 0))
    assert all(0 <= float(text.get("x", -1)) <= width for text in root.findall("text"))
    assert ElementTree.fromstring(draw_alignment([], []).html).findall("line") == []


def test_reasons_in_words() -> None:
    assert describe_reason(REASONS[1]) == "dog: for <hund>, from hunde = dogs in pair 1 (50%)"
    assert describe_reason(REASONS[2]) == "sees: known from training (70%)"
    assert describe_reason(REASONS[4]) == "mao: copied from 猫 (100%)"
    assert describe_reason(Reason("Dog", "pair", 1.0, pair=6)) == "Dog: from pair 7, whose translation is taken whole"
