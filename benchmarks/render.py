"""Every section of every script, rendered into the pages that hold its markers.

python benchmarks/render.py            writes the pages that changed
python benchmarks/render.py --check    says which are out of date
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from common import ROOT, Section, render, rendered

SCRIPTS = (
    "lake",
    "published",
    "glyphs_table",
    "data_hunger",
    "recipes",
    "omniglot_gradient",
    "sinusoid",
    "sinusoid_in_context",
    "gp_regression",
    "tables_auc",
    "tables_limits",
    "tables_regression",
    "tables_speed",
    "intents",
    "sentences",
    "sentences_more",
    "peer_setfit",
    "reviews",
    "own_reviews",
    "molecules",
    "far_molecules",
    "graphs",
    "translation",
    "translation_by_gradient",
    "gradient_speed",
    "context_speed",
    "training_speed",
    "on_gpu",
    "sampling_speed",
    "evaluation_speed",
    "bf16_cost",
    "doctor",
    "doctor_copies",
    "photos",
    "photos_fine_tuned",
    "robots",
    "interop",
    "service",
    "app",
    "export",
    "sentences_in_8_bits",
    "keras_models",
    "faithfulness",
    "materials",
    "materials_learners",
    "next_experiment",
)
"""Those that have sections."""


def sections() -> list[Section]:
    """Of all scripts."""
    return [section for name in SCRIPTS for section in import_module(name).SECTIONS]


def main(root: Path = ROOT) -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        stale = rendered(sections(), root)
        sys.exit(f"out of date: {', '.join(path.name for path in stale)}; run {Path(__file__).name}" if stale else 0)
    for path in render(sections(), root):
        print(f"wrote {path.relative_to(root)}")


if __name__ == "__main__":
    main()
