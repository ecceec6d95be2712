"""The table of learners says what the classes say."""

from __future__ import annotations

import subprocess
import sys

import pytest

import regard.learners
from regard.errors import ConfigError
from regard.learners import LEARNERS, REFERENCES, find_learner, find_reference
from regard.learners.base import AttendingLearner, Learner


@pytest.mark.parametrize("row", LEARNERS, ids=lambda row: row.name)
def test_a_row_agrees_with_its_class(row: regard.learners.LearnerRow) -> None:
    learner = row.load()
    assert issubclass(learner, Learner)
    assert getattr(regard.learners, row.name) is learner
    assert (learner.classifies, learner.regresses, learner.translates) == (
        row.classifies,
        row.regresses,
        row.translates,
    )
    assert issubclass(learner, AttendingLearner) == row.attends
    assert getattr(learner, "__final__", False), "a learner is final: from typing import final"


@pytest.mark.parametrize("row", LEARNERS, ids=lambda row: row.name)
def test_a_row_cites_papers_that_its_file_names(row: regard.learners.LearnerRow) -> None:
    words = " ".join((sys.modules[row.load().__module__].__doc__ or "").split())
    references = [find_reference(key) for key in row.references]
    assert references[0].year == row.year
    for reference in references:
        assert str(reference.year) in words
        assert reference.arxiv is None or reference.arxiv in words
        assert reference.bibtex().startswith(f"@{reference.kind}{{{reference.key},")


def test_names_are_public_and_unique() -> None:
    names = [row.name for row in LEARNERS]
    assert len(set(names)) == len(names)
    assert set(names) <= set(regard.learners.__all__)
    assert all(hasattr(regard.learners, name) for name in regard.learners.__all__)
    assert {key for row in LEARNERS for key in row.references} == {reference.key for reference in REFERENCES}


def test_a_misspelt_name_gets_a_hint() -> None:
    assert find_learner("prototypical").name == "Prototypical"
    with pytest.raises(ConfigError, match="did you mean 'Matching'"):
        find_learner("Maching")
    with pytest.raises(AttributeError, match="no attribute 'Maching'"):
        _ = regard.learners.Maching  # type: ignore[attr-defined]


def test_listing_needs_no_pytorch() -> None:
    code = "import sys, regard.learners; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
