"""The libraries Regard is measured against, made importable in one process.

Each ``import_*`` function returns the peer, shimmed only as far as a current PyTorch needs; its docstring names the shim and the reason.
The rest of this file uses each peer as its own users do, on tensors already in memory, so that what is timed is the peer and not a disk.
Where a peer leaves a choice, its quicker option is available, and the docstrings say which choices were made for it.

    N: items in the data set
    I: items in one episode, ``n_way * (n_shot + n_query)``

How to install the peers: ``benchmarks/README.md``. Nothing here is part of the package.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from itertools import islice
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

__all__ = [
    "MAML_PEERS",
    "easyfsl_episodes",
    "higher_maml",
    "import_easyfsl",
    "import_higher",
    "import_learn2learn",
    "import_torchmeta",
    "import_torchopt",
    "learn2learn_episodes",
    "learn2learn_maml",
    "learn2learn_prototypical",
    "torchopt_maml",
]

INSTALL = {
    "easyfsl": "pip install -r benchmarks/requirements-peers.txt && pip install --no-deps easyfsl==1.5.0",
    "higher": "pip install -r benchmarks/requirements-peers.txt",
    "learn2learn": (
        "pip install -r benchmarks/requirements-peers.txt && "
        "pip download --no-deps --no-build-isolation --no-binary learn2learn learn2learn==0.2.0 && "
        "tar xzf learn2learn-0.2.0.tar.gz && cd learn2learn-0.2.0 && "
        "python setup.py build_ext bdist_wheel && pip install --no-deps dist/learn2learn-*.whl"
    ),
    "torchmeta": "pip install --no-deps torchmeta==1.8.0",
    "torchopt": "pip install -r benchmarks/requirements-peers.txt",
}


def import_learn2learn() -> ModuleType:
    """learn2learn 0.2.0, with two things shimmed while it is imported.

    *torchvision*, if absent, is a stand-in whose classes raise when made: learn2learn's data sets and image transforms name it at import,
    its samplers, learners and encoders never use it. *learn2learn.gym* is left out: it needs gym, which is no longer maintained, and only
    reinforcement learning uses it. The compiled data module is learn2learn's own, cythonized again (see the README).
    """
    _require("learn2learn")
    if "learn2learn" not in sys.modules:
        sys.modules["learn2learn.gym"] = ModuleType("learn2learn.gym", "Left out: needs gym.")
    with _stand_in("torchvision"):
        return importlib.import_module("learn2learn")


def import_easyfsl() -> ModuleType:
    """easyfsl 1.5.0 with its samplers, with torchvision shimmed while it is imported.

    *torchvision*, if absent, is a stand-in whose classes raise when made: easyfsl's image folders name it at import, its samplers do not.
    Its ``TaskSampler`` needs a second shim, applied by `easyfsl_episodes`.
    """
    _require("easyfsl")
    with _stand_in("torchvision"):
        importlib.import_module("easyfsl.samplers")
        importlib.import_module("easyfsl.utils")
        return importlib.import_module("easyfsl")


def import_torchmeta() -> ModuleType:
    """torchmeta 1.8.0, whose modules and `gradient_update_parameters` need none of its data sets.

    Shims: *torchvision*, *h5py*, *ordered_set* and *requests*, if absent, are stand-ins; *torch._six* and names on PyTorch's data loader that are
    gone are put back while it is imported.
    """
    _require("torchmeta")
    if "torchmeta" in sys.modules:
        return sys.modules["torchmeta"]
    six = ModuleType("torch._six", "As it was.")
    vars(six).update(
        container_abcs=importlib.import_module("collections.abc"), string_classes=(str, bytes), int_classes=int
    )
    sys.modules["torch._six"] = six
    loader = importlib.import_module("torch.utils.data.dataloader")
    for name in ("_SingleProcessDataLoaderIter", "_MultiProcessingDataLoaderIter", "default_collate"):
        if not hasattr(loader, name):
            setattr(loader, name, object)
    with (
        _stand_in("torchvision"),
        _stand_in("h5py"),
        _stand_in("ordered_set"),
        _stand_in("requests"),
        _stand_in("pandas"),
    ):
        return importlib.import_module("torchmeta")


def import_higher() -> ModuleType:
    """higher 0.2.1, as it is: nothing shimmed."""
    _require("higher")
    return importlib.import_module("higher")


def import_torchopt() -> ModuleType:
    """torchopt 0.7.3, as it is: nothing shimmed."""
    _require("torchopt")
    return importlib.import_module("torchopt")


def easyfsl_episodes(
    images_uint8: Tensor,
    labels: Tensor,
    n_way: int,
    n_shot: int,
    n_query: int,
    *,
    n_episodes: int = 1_000,
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, list[int]]]:
    """Episodes the way easyfsl's users draw them: ``FewShotDataset``, ``TaskSampler`` and a ``DataLoader`` in the same process.

    ``images_uint8`` is (N, H, W) and ``labels`` (N,). Images are made float once, before the first episode, which favours easyfsl.
    Yields what easyfsl yields: support images and labels, query images and labels, and the class ids.

    Shim: ``TaskSampler.__init__`` calls ``Sampler.__init__(data_source=None)``, an argument PyTorch has removed. A base class placed after
    ``TaskSampler`` in the method resolution order takes the argument and drops it; easyfsl's own code is untouched.
    """
    _check_data(images_uint8, labels)
    import_easyfsl()
    few_shot_dataset = importlib.import_module("easyfsl.datasets").FewShotDataset
    task_sampler = importlib.import_module("easyfsl.samplers").TaskSampler

    class InMemory(_InMemory, few_shot_dataset):
        """The tensors as a data set of easyfsl."""

        def get_labels(self) -> list[int]:
            return self.labels

    class CurrentTaskSampler(task_sampler, _SamplerTakingDataSource):
        """easyfsl's sampler on a current PyTorch."""

    dataset = InMemory(images_uint8, labels)
    sampler = CurrentTaskSampler(dataset, n_way=n_way, n_shot=n_shot, n_query=n_query, n_tasks=n_episodes)
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=0, collate_fn=sampler.episodic_collate_fn)
    return iter(loader)


def learn2learn_episodes(
    images_uint8: Tensor,
    labels: Tensor,
    n_way: int,
    n_shot: int,
    n_query: int,
    *,
    n_episodes: int = 1_000,
    fused: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Episodes the way learn2learn's users draw them: ``MetaDataset``, task transforms, and its ``Taskset`` with its default collate.

    ``images_uint8`` is (N, H, W) and ``labels`` (N,). Images are made float once, before the first episode, which favours learn2learn.
    Yields what learn2learn yields: (I, 1, H, W) images and (I,) labels, classes together; support and query are the caller's to split.
    ``Taskset`` is the newer name of ``TaskDataset``, which warns. ``fused`` puts ``FusedNWaysKShots``, its quicker transform, in the place
    of ``NWays`` and ``KShots``. The sampler is iterated directly: its examples add a ``DataLoader``, which only slows it.
    """
    _check_data(images_uint8, labels)
    data = import_learn2learn().data
    n_items = n_shot + n_query
    dataset = data.MetaDataset(_InMemory(images_uint8, labels))
    if fused:
        choose = [data.transforms.FusedNWaysKShots(dataset, n=n_way, k=n_items)]
    else:
        choose = [data.transforms.NWays(dataset, n=n_way), data.transforms.KShots(dataset, k=n_items)]
    finish = [data.transforms.LoadData, data.transforms.RemapLabels, data.transforms.ConsecutiveLabels]
    taskset = data.Taskset(dataset, task_transforms=[*choose, *(transform(dataset) for transform in finish)])
    return islice(taskset, n_episodes)


def learn2learn_prototypical(
    n_way: int = 20,
    n_shot: int = 1,
    n_query: int = 5,
    *,
    learning_rate: float = 1e-3,
    device: torch.device | str = "cpu",
) -> Callable[[Tensor, Tensor], Tensor]:
    """A training step of Prototypical in learn2learn's way: ``step(images, labels) -> loss``, one episode, NCHW, float32.

    ``images`` (I, 1, 28, 28) and ``labels`` (I,), 0 to ``n_way`` - 1 in any order, are one episode as `learn2learn_episodes` yields it,
    already on ``device``, so that sampling is not timed. Encoder, distances and order of work are those of its example for Prototypical:
    items sorted by label, ``CNN4Backbone`` of 64 filters with max-pooling in one forward over support and query, the mean of each class's
    support, expanded pairwise squared distances, cross entropy, Adam. Left out, in its favour: support and query split by boolean masks (a
    reshape does it), the accuracy, and ``loss.item()`` after every step, which on a GPU would wait for the device.
    """
    l2l = import_learn2learn()
    encoder = l2l.vision.models.CNN4Backbone(hidden_size=64, channels=1, max_pool=True).to(device)
    distance = l2l.nn.PrototypicalClassifier.euclidean_distance
    optimizer = torch.optim.Adam(encoder.parameters(), lr=learning_rate)

    def step(images: Tensor, labels: Tensor) -> Tensor:
        labels, order = torch.sort(labels)  # then class j is in place j, as the logits have it
        embeddings = encoder(images[order]).view(n_way, n_shot + n_query, -1)
        prototypes = embeddings[:, :n_shot].mean(dim=1)
        logits = -distance(prototypes, embeddings[:, n_shot:].flatten(0, 1))
        loss = F.cross_entropy(logits, labels.view(n_way, n_shot + n_query)[:, n_shot:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


Task = tuple[Tensor, Tensor, Tensor, Tensor]
"""Support items and targets, query items and targets, of one task."""

Loss = Callable[[Tensor, Tensor], Tensor]


def learn2learn_maml(
    model: nn.Module, loss: Loss, inner_lr: float, inner_steps: int
) -> Callable[[Sequence[Task]], Tensor]:
    """Second-order MAML in learn2learn's way: ``gradients(tasks) -> mean loss``, the meta-gradient left on the model.

    As in its examples: ``clone`` and ``adapt`` for each task, and a backward for each, so that the memory is one task's.
    """
    maml = import_learn2learn().algorithms.MAML(model, lr=inner_lr)

    def gradients(tasks: Sequence[Task]) -> Tensor:
        total = torch.zeros(())
        for x, y, query_x, query_y in tasks:
            learner = maml.clone()
            for _ in range(inner_steps):
                learner.adapt(loss(learner(x), y))
            value = loss(learner(query_x), query_y) / len(tasks)
            value.backward()
            total = total + value.detach()
        return total

    return gradients


def higher_maml(model: nn.Module, loss: Loss, inner_lr: float, inner_steps: int) -> Callable[[Sequence[Task]], Tensor]:
    """The same in higher's way: ``innerloop_ctx`` with SGD inside, and a backward for each task, as in its example."""
    higher = import_higher()
    sgd = torch.optim.SGD(model.parameters(), lr=inner_lr)

    def gradients(tasks: Sequence[Task]) -> Tensor:
        total = torch.zeros(())
        for x, y, query_x, query_y in tasks:
            with higher.innerloop_ctx(model, sgd, copy_initial_weights=False) as (fast, inner):
                for _ in range(inner_steps):
                    inner.step(loss(fast(x), y))
                value = loss(fast(query_x), query_y) / len(tasks)
                value.backward()
            total = total + value.detach()
        return total

    return gradients


def torchopt_maml(
    model: nn.Module, loss: Loss, inner_lr: float, inner_steps: int
) -> Callable[[Sequence[Task]], Tensor]:
    """The same in torchopt's way: ``MetaSGD``, states extracted and recovered, as in its example.

    Its example adds up the losses of all tasks and goes backward once; a backward for each task, which needs less memory,
    is in its favour.
    """
    torchopt = import_torchopt()
    inner = torchopt.MetaSGD(model, lr=inner_lr)

    def gradients(tasks: Sequence[Task]) -> Tensor:
        total = torch.zeros(())
        model_state = torchopt.extract_state_dict(model, by="reference", detach_buffers=True)
        inner_state = torchopt.extract_state_dict(inner, by="reference")
        for x, y, query_x, query_y in tasks:
            for _ in range(inner_steps):
                inner.step(loss(model(x), y))
            value = loss(model(query_x), query_y) / len(tasks)
            value.backward()
            torchopt.recover_state_dict(model, model_state)
            torchopt.recover_state_dict(inner, inner_state)
            total = total + value.detach()
        return total

    return gradients


MAML_PEERS = {"learn2learn": learn2learn_maml, "higher": higher_maml, "torchopt": torchopt_maml}


class _InMemory(Dataset):
    """Float images (N, 1, H, W) in [0, 1] and labels as plain integers, indexed one item at a time."""

    def __init__(self, images_uint8: Tensor, labels: Tensor) -> None:
        self.images = images_uint8.unsqueeze(1).float() / 255
        self.labels: list[int] = labels.tolist()

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        return self.images[item], self.labels[item]

    def __len__(self) -> int:
        return len(self.labels)


class _SamplerTakingDataSource(Sampler):
    """``Sampler`` as it was when it took a data source."""

    def __init__(self, data_source: object = None) -> None:
        super().__init__()


class _StandIn(MetaPathFinder, Loader):
    """Finds an absent package and anything below it, as empty modules whose every name is a class that raises when made."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        ours = fullname == self.package or fullname.startswith(f"{self.package}.")
        return ModuleSpec(fullname, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        def absent(name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            return _absent_class(module.__name__, name)

        module.__getattr__ = absent  # type: ignore[method-assign]


def _absent_class(module: str, name: str) -> type:
    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise ImportError(
            f"{module}.{name} is a stand-in, since {module.split('.')[0]} is not installed; install it to use this."
        )

    return type(name, (), {"__init__": refuse, "__module__": module})


@contextmanager
def _stand_in(package: str) -> Iterator[None]:
    """Lets ``package`` be imported though absent; a package that is there is left alone.

    The stand-in is gone again afterwards, so that no other library takes it for the real one.
    """
    if package in sys.modules or find_spec(package) is not None:
        yield
        return
    finder = _StandIn(package)
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]


def _require(peer: str) -> None:
    if peer not in sys.modules and find_spec(peer) is None:
        raise ImportError(
            f"{peer}, a peer to measure against, is not installed. From the repository's root:\n    {INSTALL[peer]}"
        )


def _check_data(images_uint8: Tensor, labels: Tensor) -> None:
    if images_uint8.dtype != torch.uint8 or images_uint8.ndim != 3:
        raise ValueError(
            f"Expected images as a uint8 tensor of shape (N, H, W), got {images_uint8.dtype} {tuple(images_uint8.shape)}; "
            "scale them to 0..255 and drop the channel."
        )
    if labels.shape != images_uint8.shape[:1]:
        raise ValueError(f"Expected one label an image, shape ({len(images_uint8)},), got {tuple(labels.shape)}.")
