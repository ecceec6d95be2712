"""Explain an answer: which examples mattered, by attention and by influence, and how far to believe it.

python examples/explain_an_answer.py
"""

import torch

import regard
from regard.explain import faithfulness, influence
from regard.learners import Matching, Prototypical
from regard.nn.mlp import MLP

torch.manual_seed(0)
items = (3 * torch.randn(20, 1, 8) + torch.randn(20, 12, 8)).flatten(0, 1)
data = regard.Dataset.of(items, torch.arange(20).repeat_interleave(12))
source = regard.EpisodeSampler(data, n_way=3, n_shot=2, n_query=4)
episode = source([0])

# Attention: a distribution over the examples, for each query. Only learners that attend have it.
attending = Matching(MLP(8))
print("attention of query 0:   ", attending.attend(attending.adapt(episode.support), episode.query_x)[0, 0].detach())

# Influence: how the answer moves when an example counts a little more or less. Every learner has it.
explained = influence(Prototypical(MLP(8)), episode)
print("contribution for query 0:", explained.contribution[0, 0])

# Proof by deletion: the probability falls more without the example that was pointed at than without a random one.
proof = faithfulness(attending, source.batches(100, 10))
print(f"drop without the top example {proof.top}, without a random one {proof.random}")
