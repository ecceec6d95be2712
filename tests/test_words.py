"""House words that a reader of this field would stop at are held to zero, in code, messages and pages."""

from __future__ import annotations

import re
import subprocess

import pytest

from pages import ROOT

PLACES = ["src", "docs", "examples", "benchmarks", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
KINDS = (".py", ".md", ".yaml", ".toml", ".j2", ".css", ".js")

FORBIDDEN = {
    r"(?i)\b(un)?practi[sc](e|es|ed|ing)\b|practi[sc]e_|_practi[sc]e": "train, training",
    r"(?i)\bsureness\b": "confidence",
    r"(?i)\bentrants?\b": "candidate",
    r"(?i)\banew\b": "again, from scratch",
    r"(?i)\b(where|if) (it is |they are )?left out": "by default",
    r"(?i)\bits kin\b": "its variants",
    r"(?i)\btold as\b": "reported as",
    r"(?i)\bper cent\b": "percent",
    r"(?i)\bmakes up\b|\bmade[- ]up\b": "generates, synthetic",
    r"authors' code's|as (their|its) authors begin": "as in the authors' code",
    r"(?i)and left as it came|eval mode for the time": "temporarily in eval mode, then restored",
    r"(?i)\bcommonness\b|\bmissingness\b": "frequency, missing flag",
    r"\bbegin_with\b": "load_matching_weights",
    r"\bstands_on\b": "encoder_from",
    r"\basked_part\b|\bAsked\(|\bclass Asked\b": "evaluation_split, EvaluationOptions",
    r"\bTally\b": "MetricAccumulator",
    r"\bPatient\b": "LeakContext",
    r"\bAsItIs\b": "Identity",
    r"\bGathered\b": "FromEncoded",
    r"\bChip\b|\bMended\b|\bSureness\b|\bCertainty\b": "SupportThumbnail, BeforeAfter, ConfidenceSection",
    r"\bexecution_for\b|\bexpecting\(": "choose_execution, n_steps_ahead",
    r"\bmembers_of\b": "module_tensors",
}


def _texts() -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", *PLACES], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not listed:  # unpacked without its history
        listed = [str(path.relative_to(ROOT)) for place in PLACES for path in sorted((ROOT / place).rglob("*"))]
    kept = [name for name in listed if name.endswith(KINDS) and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_text() for name in kept}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    found = _texts()
    assert len(found) > 200
    return found


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_a_house_word_is_gone(pattern: str, texts: dict[str, str]) -> None:
    hits = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not hits, f"say {FORBIDDEN[pattern]!r} instead:\n" + "\n".join(hits)
