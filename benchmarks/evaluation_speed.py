"""Evaluating 1,000 20-way 1-shot episodes of the held-out glyphs: each item encoded once, against once per episode.

    python benchmarks/evaluation_speed.py [--rounds 5] [--threads 1]

The fresh way encodes the 120 images of an episode when the episode comes, as the peers do, one episode a forward, which
is the fastest way there is for it on a CPU. It is measured on fewer episodes and scaled to 1,000: its time is
proportional. The cached way is measured on all 1,000 for Prototypical; for CrossTransformer, whose time goes to the
attention between places and not to the encoder, on fewer, of which all but the encoding is scaled. Rounds are
interleaved, medians reported. Answers are compared episode by episode.

Weights are random: speed does not depend on them, and equal answers are the harder to get where margins are small.
Glyphs are drawn and distorted once, 20 drawings a character, by noise fixed by a seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch

from common import Document, Section, argument_parser, made_by, provenance, render_after, table, write_document
from regard.domains.images.glyphs import glyphs
from regard.evaluation import METRICS, Result, evaluate
from regard.evaluation.encoded import encode_items
from regard.learners.base import EncodingLearner
from regard.learners.cross_transformer import CrossTransformer
from regard.learners.prototypical import Prototypical
from regard.nn.conv4 import Conv4
from regard.nn.inference import eval_mode
from regard.sampling import EpisodeSampler

N_EPISODES = 1_000


@dataclass(frozen=True)
class Case:
    name: str
    learner: EncodingLearner
    n_fresh: int
    n_cached: int


def cases() -> list[Case]:
    torch.manual_seed(0)
    parts = Conv4(norm="batch", halve_by="stride", n_halvings=2, parts=True)
    return [
        Case("Prototypical, Conv4", Prototypical(Conv4()), 50, N_EPISODES),
        Case("CrossTransformer, Conv4 of the recipe glyphs", CrossTransformer(parts, d_head=32), 20, 50),
    ]


def measure(case: Case, sampler: EpisodeSampler) -> dict[str, float]:
    """Seconds of one round, scaled to 1,000 episodes."""
    fresh = evaluate(case.learner, sampler, case.n_fresh, cache=False).seconds
    cached = evaluate(case.learner, sampler, case.n_cached).seconds
    if case.n_cached < N_EPISODES:
        cached = (cached - encoding(case, sampler, case.n_cached)) * N_EPISODES / case.n_cached
        cached += encoding(case, sampler, N_EPISODES)
    return {"fresh": fresh * N_EPISODES / case.n_fresh, "cached": cached}


def encoding(case: Case, sampler: EpisodeSampler, n_episodes: int) -> float:
    """Seconds to encode once what these episodes ask for."""
    rows = sampler.rows(np.arange(n_episodes))
    started = time.perf_counter()
    with eval_mode(case.learner):
        encode_items(case.learner, sampler.dataset, rows, torch.device("cpu"))
    return time.perf_counter() - started


def agreement(case: Case, sampler: EpisodeSampler) -> dict[str, object]:
    """How far cached and fresh answers lie apart, episode by episode."""
    a = evaluate(case.learner, sampler, case.n_fresh)
    b = evaluate(case.learner, sampler, case.n_fresh, cache=False)
    return {
        "episodes_compared": case.n_fresh,
        "same_accuracy": bool(np.array_equal(a.per_episode["accuracy"], b.per_episode["accuracy"])),
        "same_confusions": _confusions(a) == _confusions(b),
        "largest_difference": {
            name: float(np.abs(a.per_episode[name] - b.per_episode[name]).max()) for name in METRICS
        },
    }


def _confusions(result: Result) -> list[list[int]]:
    assert result.confusion is not None
    return np.stack([result.confusion.true, result.confusion.predicted, result.confusion.count]).tolist()


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "evaluation_speed.json", seed=0)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--threads", type=int, default=1, help="of PyTorch")
    return made


def main() -> None:
    """Measure, print, write."""
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    test = glyphs()["test"]
    sampler = EpisodeSampler(test, n_way=20, n_shot=1, n_query=5, seed=options.seed, within_groups=True)
    chosen = cases()
    for case in chosen:  # the first calls of kernels are slow
        evaluate(case.learner, sampler, 2)
        evaluate(case.learner, sampler, 2, cache=False)
    rounds = [{case.name: measure(case, sampler) for case in chosen} for _ in range(options.rounds)]
    measured = []
    for case in chosen:
        seconds = {way: [r[case.name][way] for r in rounds] for way in ("fresh", "cached")}
        ratio = statistics.median(f / c for f, c in zip(seconds["fresh"], seconds["cached"], strict=True))
        measured.append(
            {
                "learner": case.name,
                "episodes": N_EPISODES,
                "fresh_measured_on": case.n_fresh,
                "cached_measured_on": case.n_cached,
                "seconds": seconds,
                "median_seconds": {way: statistics.median(values) for way, values in seconds.items()},
                "ratio": ratio,
                "encoding_once_seconds": encoding(case, sampler, N_EPISODES),
                "agreement": agreement(case, sampler),
            }
        )
        print(f"{case.name}: {ratio:.1f} times faster", json.dumps(measured[-1]["median_seconds"]))
    document = {
        "what": "1,000 20-way 1-shot episodes, 5 queries per class, held-out glyphs; ratios are medians over rounds",
        "data": {"items": len(test), "classes": test.n_classes},
        "measured": measured,
        **provenance(seed=options.seed),
    }
    write_document(options.out, document)
    render_after(options, SECTIONS)


def section(document: Document) -> str:
    """Encoding each item once against encoding it in every episode."""
    rows = [
        [m["learner"], *(f"{m['median_seconds'][way]:.1f} s" for way in ("fresh", "cached")), f"{m['ratio']:.1f}"]
        for m in document["measured"]
    ]
    heads = ["learner", "encoded in every episode", "encoded once", "times as fast"]
    return "\n\n".join([f"## Evaluation: {document['what']}", table(heads, rows), made_by(document)])


SECTIONS = (Section("evaluation_speed", "evaluation_speed.json", section),)


if __name__ == "__main__":
    main()
