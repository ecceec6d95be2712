"""Compare two methods on identical episodes: the difference is paired, and has an interval of its own.

python examples/compare_two_methods.py [STEPS]
"""

import sys
import tempfile

import torch

import regard
from regard.learners import Matching, Prototypical
from regard.nn.mlp import MLP
from regard.sampling import split_classes

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
torch.manual_seed(0)
centres = torch.cat([2 * torch.randn(100, 1, 4), torch.zeros(100, 1, 28)], -1)
items = (centres + torch.randn(100, 20, 32)).flatten(0, 1)
splits = split_classes(
    regard.Dataset.of(items, torch.arange(100).repeat_interleave(20)), {"train": 0.7, "validation": 0.1, "test": 0.2}
)
training = regard.EpisodeSampler(splits["train"], n_way=5, n_shot=1)
test = regard.EpisodeSampler(splits["test"], n_way=5, n_shot=1)

results = []
for method in (Prototypical, Matching):
    torch.manual_seed(0)
    learner = method(MLP(32))
    config = regard.TrainConfig(steps=steps, tasks_per_step=4, tensorboard=False)
    regard.train(learner, training, config, folder=tempfile.mkdtemp())
    results.append(regard.evaluate(learner, test, 300))
    print(f"{method.__name__}: {results[-1].metrics['accuracy']}")

[comparison] = regard.compare(results, ["accuracy"])
verdict = "a tie" if comparison.tie else f"{comparison.better} is better"
print(f"{comparison.a} - {comparison.b}: {comparison.difference}, {verdict}")
