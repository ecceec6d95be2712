"""Ask one fitted estimator from many threads, and count answers that differ from those of one thread.

    python tests/estimators/threads.py --answers 1000 --out tests/estimators/threads.json

Another thread trains the learner it was made from all the while. Exits with 1 if an answer differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import nn

import regard
from regard.learners import MAML, CrossTransformer, Prototypical
from regard.learners.base import Learner
from regard.nn.conv4 import Conv4


def model() -> nn.Module:
    """With what differs from training to prediction: dropout and running averages."""
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 5))


def maps() -> Conv4:
    return Conv4(1, 8, n_halvings=2, image_size=8, parts=True)


CASES: dict[str, tuple[Callable[[], Learner], tuple[int, ...]]] = {
    "MAML": (lambda: MAML(model(), inner_steps=2), (6,)),
    "CrossTransformer": (lambda: CrossTransformer(maps(), d_head=4), (8, 8)),
    "Prototypical": (lambda: Prototypical(Conv4(1, 8, n_halvings=2, image_size=8)), (8, 8)),
}


def differing(make: Callable[[], Learner], item: tuple[int, ...], n_answers: int, n_threads: int = 8) -> int:
    """How many of so many answers in threads are not, to the bit, that of one thread."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, *item, generator=generator), np.arange(20) % 5
    queries = [torch.randn(4, *item, generator=generator) for _ in range(16)]
    torch.manual_seed(0)
    learner = make()
    estimator = regard.FewShotClassifier(learner).fit(x, y)
    expected = [estimator.predict_proba(query) for query in queries]
    ended = threading.Event()

    def disturb() -> None:
        while not ended.wait(0.001):
            learner.train(not learner.training)

    other = threading.Thread(target=disturb)
    other.start()
    try:
        with ThreadPoolExecutor(n_threads) as pool:
            numbers = [i % len(queries) for i in range(n_answers)]
            answers = list(pool.map(lambda i: estimator.predict_proba(queries[i]), numbers))
    finally:
        ended.set()
        other.join()
    return sum(not np.array_equal(answer, expected[i]) for answer, i in zip(answers, numbers, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=1000, help="per learner")
    parser.add_argument("--out", type=Path, help="JSON of the counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    counts = {}
    for name, (make, item) in CASES.items():
        counts[name] = {"answers": options.answers, "differ": differing(make, item, options.answers)}
        sys.stdout.write(f"{name}: {counts[name]['differ']} of {options.answers} answers differ\n")
        sys.stdout.flush()
    if options.out:
        options.out.write_text(json.dumps(counts, indent=1) + "\n")
    return int(any(count["differ"] for count in counts.values()))


if __name__ == "__main__":
    raise SystemExit(main())
