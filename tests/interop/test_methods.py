"""Methods of other libraries under our evaluation, ours in their loops; stand-ins have their interfaces."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Episode
from regard.errors import ConfigError, EpisodeError
from regard.evaluation import evaluate
from regard.interop import (
    EasyfslClassifier,
    EasyfslTasks,
    Learn2LearnTasks,
    TorchmetaBatches,
    learner_from_easyfsl,
    learner_from_learn2learn,
    learner_from_torchmeta,
)
from regard.learners import MAML, Prototypical
from regard.nn.mlp import MLP
from regard.sampling import Dataset, EpisodeSampler


def sampler(n_way: int | tuple[int, int] = 3, n_shot: int | tuple[int, int] = 2) -> EpisodeSampler:
    generator = torch.Generator().manual_seed(1)
    centres = 2 * torch.randn(10, 1, 6, generator=generator)
    x = (centres + torch.randn(10, 9, 6, generator=generator)).flatten(0, 1)
    return EpisodeSampler(Dataset.of(x, torch.arange(10).repeat_interleave(9)), n_way, n_shot, 3)


class Prototypes(nn.Module):
    """The two methods of easyfsl's classifiers."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.prototypes = torch.tensor([])

    def process_support_set(self, support_images: Tensor, support_labels: Tensor) -> None:
        z = self.backbone(support_images)
        self.prototypes = torch.stack([z[support_labels == c].mean(0) for c in range(int(support_labels.max()) + 1)])

    def forward(self, query_images: Tensor) -> Tensor:
        return -torch.cdist(self.backbone(query_images), self.prototypes).square()


class Clonable(nn.Module):
    """The two methods of learn2learn's MAML."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        super().__init__()
        self.model, self.lr = model, lr

    def clone(self) -> Clonable:
        return Clonable(deepcopy(self.model), self.lr)

    def adapt(self, loss: Tensor) -> None:
        parameters = list(self.model.parameters())
        with torch.no_grad():
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                p -= self.lr * g

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class LinearWithParams(nn.Module):
    """A model as torchmeta's `MetaModule`: its forward takes other parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(3, 6) / 3), nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, params: dict[str, Tensor] | None = None) -> Tensor:
        p = params or dict(self.named_parameters())
        return F.linear(x, p["weight"], p["bias"])


def update_by_gradient(
    model: nn.Module, loss: Tensor, params: dict[str, Tensor] | None = None, step_size: float = 0.5
) -> dict[str, Tensor]:
    """What torchmeta's `gradient_update_parameters` returns."""
    p = params or dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, list(p.values()), create_graph=True)
    return {name: value - step_size * g for (name, value), g in zip(p.items(), gradients, strict=True)}


@pytest.mark.parametrize(("n_way", "n_shot"), [(3, 2), ((2, 4), (1, 3))])
def test_prototypes_of_another_library_score_as_ours(
    n_way: int | tuple[int, int], n_shot: int | tuple[int, int]
) -> None:
    encoder = MLP(6, 8)
    ours, theirs = Prototypical(encoder), learner_from_easyfsl(Prototypes(encoder))
    source = sampler(n_way, n_shot)
    a, b = (evaluate(learner, source, 24) for learner in (ours, theirs))
    assert a.metrics["accuracy"] == b.metrics["accuracy"]


def test_a_class_without_support_has_no_probability() -> None:
    episode = sampler((2, 4), (1, 3))([0, 1, 2, 3])
    logits = learner_from_easyfsl(Prototypes(MLP(6, 8)))(episode)
    absent = episode.support.membership().sum(1) == 0
    assert bool(absent.any())
    assert bool(logits.softmax(-1).transpose(1, 2)[absent].eq(0).all())


def test_maml_of_another_library_takes_the_steps_of_ours() -> None:
    torch.manual_seed(2)
    model = nn.Linear(6, 3)
    episode = sampler()([0, 1])
    theirs = learner_from_learn2learn(Clonable(model, 0.3), inner_steps=2)
    ours = MAML(deepcopy(model), inner_steps=2, inner_lr=0.3)
    torch.testing.assert_close(theirs(episode), ours(episode))
    assert evaluate(theirs, sampler(), 6).metrics["accuracy"] == evaluate(ours, sampler(), 6).metrics["accuracy"]


def test_meta_modules_take_the_same_steps_too() -> None:
    torch.manual_seed(3)
    model = LinearWithParams()
    plain = nn.Linear(6, 3)
    plain.load_state_dict(model.state_dict())
    episode = sampler()([4, 5])
    theirs = learner_from_torchmeta(model, update_by_gradient, inner_steps=2, inner_lr=0.3)
    torch.testing.assert_close(theirs(episode), MAML(plain, inner_steps=2, inner_lr=0.3)(episode))


def test_a_foreign_learner_trains() -> None:
    torch.manual_seed(4)
    learner = learner_from_easyfsl(Prototypes(MLP(6, 8)))
    optimizer = torch.optim.Adam(learner.parameters(), 0.01)
    source, losses = sampler(), []
    for step in range(30):
        loss = learner.loss(source([step, step + 1])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])


def test_our_learner_answers_their_loop() -> None:
    learner = Prototypical(MLP(6, 8))
    classifier = EasyfslClassifier(learner)
    source = sampler()
    with pytest.raises(EpisodeError, match="process_support_set"):
        classifier(torch.zeros(1, 6))
    right = total = 0
    for x, y, query_x, query_y, _ in EasyfslTasks(source, 10):
        classifier.process_support_set(x, y)
        right += int((classifier(query_x).argmax(1) == query_y).sum())
        total += len(query_y)
    assert right / total == pytest.approx(evaluate(learner, source, 10).metrics["accuracy"].mean)


def test_task_sets_give_the_episodes_of_the_sampler() -> None:
    source = EpisodeSampler(sampler().dataset, 3, 2, 2)
    tasks = Learn2LearnTasks(source, 4)
    assert len(tasks) == 4
    assert [bool((a[0] == b[0]).all()) for a, b in zip(tasks, (tasks.sample() for _ in range(4)), strict=True)] == [
        True
    ] * 4
    assert torch.equal(tasks[-1][0], tasks[3][0])
    with pytest.raises(IndexError):
        tasks[4]
    batches = list(TorchmetaBatches(source, batch_size=2, n_batches=3))
    assert len(batches) == 3
    assert torch.equal(batches[1]["train"][0], source([2, 3]).support.x)


def test_objects_without_the_methods_are_named() -> None:
    with pytest.raises(ConfigError, match="Linear has no process_support_set"):
        learner_from_easyfsl(nn.Linear(1, 1))
    with pytest.raises(ConfigError, match="Linear has no clone and no adapt"):
        learner_from_learn2learn(nn.Linear(1, 1), inner_steps=1)
    with pytest.raises(ConfigError, match="inner_steps is 0"):
        learner_from_torchmeta(LinearWithParams(), update_by_gradient, inner_steps=0, inner_lr=0.1)


def test_a_model_with_too_few_outputs_is_named() -> None:
    episode: Episode = sampler(4, 1)([0])
    with pytest.raises(EpisodeError, match=r"scores \(4, 3\) for a task of 4 classes"):
        learner_from_learn2learn(Clonable(nn.Linear(6, 3), 0.1), inner_steps=1)(episode)
