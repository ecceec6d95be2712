"""Keras models keep the laws of learners on every backend, in double precision; run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

keras = pytest.importorskip("keras", reason="needs the extra keras")

BACKEND = keras.backend.backend()

# All laws under PyTorch; elsewhere, where each costs seconds, those that say what is right. The benchmark checks all.
CHEAP = (
    "answers_have_the_right_shape",
    "support_order_does_not_matter",
    "weight_zero_is_absence",
    "weight_two_is_twice",
    "queries_do_not_see_each_other",
    "relabelling_relabels",
    "a_gradient_reaches_every_parameter",
    "the_weight_gradient_is_finite",
    "attention_is_a_distribution",
    "an_empty_support_is_survived",
    "saved_is_loaded",
)
CODE = """
import sys
import keras_models as benchmark
from regard.testing import LAWS
benchmark.double_precision({backend!r})
laws = [law for law in LAWS if {backend!r} == "torch" or law.__name__ in {cheap!r}]
broken = {{name: benchmark.broken_laws(name, laws) for name in {names!r}}}
sys.exit("\\n".join(f"{{name}}: {{said}}" for name, said in broken.items() if said) or 0)
"""


@pytest.mark.parametrize("name", ["Prototypical", "Matching", "CrossTransformer", "AttentionMetaLearner"])
def test_the_laws_are_kept(name: str) -> None:
    code = CODE.format(backend=BACKEND, cheap=CHEAP, names=[name])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_broken_law_is_noticed() -> None:
    """A model that counts rows instead of weights."""
    code = """
import sys
import keras, numpy as np
import keras_models as benchmark
import regard.keras as rk
from regard.testing import LAWS
benchmark.double_precision(keras.backend.backend())

class Counts(rk.PrototypicalModel):
    def class_logits(self, rows, member, asked):
        return super().class_logits(rows, keras.ops.cast(member > 0, member.dtype), asked)

benchmark.law_cases = lambda: {"Counts": (lambda: Counts(keras.Sequential([keras.layers.Dense(5)])), (6,))}
said = benchmark.broken_laws("Counts", [law for law in LAWS if law.__name__ == "weight_two_is_twice"])
sys.exit(0 if "weight_two_is_twice" in str(said) else f"nothing was noticed: {said}")
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
