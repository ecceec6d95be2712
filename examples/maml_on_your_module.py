"""MAML on a module of your own: any torch.nn.Module from items (N, *item) to outputs (N, n_outputs).

    python examples/maml_on_your_module.py [STEPS]

Tasks are sinusoids of random amplitude and phase; five points are known. After training, a few gradient steps on them
fit the whole curve.
"""

import sys
import tempfile

import torch
from torch import nn

import regard
from regard.learners import MAML
from regard.sampling import Sinusoids

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
learner = MAML(model, inner_lr=0.05, inner_steps=2, test_steps=5)
test = Sinusoids(n_shot=5, n_query=20, seed=1)

print("squared error before:", regard.evaluate(learner, test, 100).metrics["mse"])
config = regard.TrainConfig(steps=steps, tasks_per_step=16, tensorboard=False)
regard.train(learner, Sinusoids(n_shot=5, n_query=20), config, folder=tempfile.mkdtemp())
print("squared error after: ", regard.evaluate(learner, test, 100).metrics["mse"])

episode = test([0])
state = learner.adapt(episode.support)  # the adapted weights; `model` itself is unchanged
print("prediction at the queries:", learner.predict(state, episode.query_x).mean[0, :3, 0])
