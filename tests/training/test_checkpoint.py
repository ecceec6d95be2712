from __future__ import annotations

import json
import math
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from regard.errors import CheckpointError, ConfigError, MissingExtraError
from regard.limits import HEADER_BYTES
from regard.training import TrainConfig, load_checkpoint, save_checkpoint
from regard.training.checkpoint import rewrite_spec
from regard.training.sealed import AllocationError, BoundedAllocation, write_sealed
from regard.training.state import RunState

SPEC = {"width": 3}


def build(spec: dict[str, int]) -> nn.Module:
    torch.manual_seed(spec["width"])
    return nn.Sequential(nn.Linear(2, spec["width"]), nn.BatchNorm1d(spec["width"]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "a.safetensors"
    save_checkpoint(file, build(SPEC), spec=SPEC, step=5, metrics={"accuracy": 0.5})
    return file


def test_round_trip(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    learner = checkpoint.build(lambda spec: build({"width": spec["width"]}).requires_grad_(True))
    for name, tensor in build(SPEC).state_dict().items():
        assert torch.equal(learner.state_dict()[name], tensor)
    assert not learner.training
    assert (checkpoint.spec, checkpoint.step, checkpoint.metrics) == (SPEC, 5, {"accuracy": 0.5})


def test_what_is_not_said_is_empty(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", build(SPEC), spec=SPEC)
    saved = load_checkpoint(tmp_path / "a")
    assert (saved.step, saved.metrics, saved.training, saved.tensors("optimizer")) == (0, {}, None, {})


def test_equal_states_write_equal_bytes(path: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "b", build(SPEC), spec=SPEC, step=5, metrics={"accuracy": 0.5})
    assert (tmp_path / "b").read_bytes() == path.read_bytes()


def test_the_header_can_be_read_by_eye(path: Path) -> None:
    head = path.read_bytes()[8:400].decode()  # after eight bytes that say how long it is
    for word in ("regard.checkpoint.2", "sha256", "spec", "width", "accuracy"):
        assert word in head


def test_tied_and_strided_tensors(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.b = self.a

    learner, other = Tied(), Tied()
    save_checkpoint(tmp_path / "c", learner, spec={})
    load_checkpoint(tmp_path / "c").load_into(other)
    assert torch.equal(learner.a.weight, other.b.weight)
    assert other.a.weight.is_contiguous(memory_format=torch.channels_last)
    assert other.a.weight is other.b.weight


def planted(make: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(make(path.read_bytes())) and None  # type: ignore[func-returns-value]


def with_header(**changes: object) -> Callable[[Path], None]:
    def plant(path: Path) -> None:
        header = load_checkpoint(path).header | changes
        header = {k: v for k, v in header.items() if v != "absent"}
        write_sealed(path, header, {"learner/x": torch.ones(2)})

    return plant


def sealed_text(index: bytes) -> bytes:
    return len(index).to_bytes(8, "little") + index


class Evil:
    """Would leave a file if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, ("/dev/null/unpickled",))


FAULTS = {
    "empty": (planted(lambda b: b""), "0 bytes.*empty or was cut off"),
    "cut in the tensors": (planted(lambda b: b[:-10]), r"cut off: expected at least \d+ bytes and it has \d+"),
    "cut in the header": (planted(lambda b: b[:100]), "cut off"),
    "a pickle": (planted(lambda b: pickle.dumps(Evil())), "holds a pickle.*not read"),
    "text": (planted(lambda b: b"hello, this is no checkpoint"), "not a safetensors file"),
    "a broken header": (planted(lambda b: b[:8] + b"{" + b"\xff" * 20 + b[29:]), "damaged header"),
    "foreign safetensors": (planted(lambda b: save({"x": torch.ones(2)})), "Regard did not write"),
    "a later format": (with_header(format="regard.checkpoint.3", regard="9.1"), "'regard.checkpoint.3'.*Regard '9.1'"),
    "no spec": (with_header(spec="absent"), "no spec in its header"),
    "a spec that is a list": (with_header(spec=[1]), "a spec of another type in its header"),
    "an older file, without a digest": (
        planted(lambda b: save({"x": torch.ones(2)}, {"regard": json.dumps({"format": "regard.checkpoint.1"})})),
        "'regard.checkpoint.1'.*expected 'regard.checkpoint.2'",
    ),
    "no digest": (
        planted(lambda b: save({"x": torch.ones(2)}, {"regard": json.dumps({"format": "regard.checkpoint.2"})})),
        "no sha256",
    ),
    "deep nesting": (planted(lambda b: sealed_text(b'{"a":' * 100_000)), "damaged header"),
    "an index without offsets": (planted(lambda b: sealed_text(b'{"x": {"data_offsets": []}}')), "damaged header"),
    "a huge header": (
        planted(lambda b: sealed_text(b"{" + b" " * (HEADER_BYTES + 1))),
        "header of .* expected at most",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_files(path: Path, fault: str) -> None:
    plant, message = FAULTS[fault]
    plant(path)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_what_torch_save_wrote_is_refused(tmp_path: Path) -> None:
    torch.save({"x": Evil()}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="holds a pickle"):
        load_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["nothing", "."])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be read.*best\.safetensors"):
        load_checkpoint(tmp_path / name)


def test_all_that_does_not_fit_is_said_at_once(path: Path) -> None:
    other = nn.Sequential(nn.Linear(2, 4), nn.Identity(), nn.Linear(1, 1, bias=False))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path).load_into(other)
    message = str(caught.value)
    assert "no tensor '2.weight'" in message
    assert "an unexpected tensor '1." in message
    assert re.search(r"and \d+ more", message)


def test_a_spec_has_to_be_json(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be JSON"):
        save_checkpoint(tmp_path / "d", build(SPEC), spec={"x": build(SPEC)})
    assert not list(tmp_path.iterdir())


def test_any_changed_bit_is_found(path: Path) -> None:
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
    for changed in (content + b"\0", content[:-1], content[:40] + content[41:]):
        path.write_bytes(changed)
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


def test_the_spec_alone_can_be_rewritten(path: Path) -> None:
    before = load_checkpoint(path)
    rewrite_spec(path, lambda spec: {"breadth": spec["width"]})
    after = load_checkpoint(path)
    assert after.spec == {"breadth": 3}
    assert after.header == before.header | {"spec": {"breadth": 3}}
    assert all(torch.equal(after.all_tensors[name], t) for name, t in before.all_tensors.items())


def endless(spec: dict[str, int]) -> nn.Module:
    return nn.Sequential(*(nn.Linear(1, 1) for _ in range(10**9)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda spec: nn.Linear(2**20, 2**20), "much larger than the weights it holds"),
        (lambda spec: nn.Embedding(2**40, 2**40), "cannot be built"),
        (endless, "much larger than the weights it holds"),
        (lambda spec: nn.Linear(2, spec["height"]), "cannot be built .KeyError"),
        (lambda spec: nn.Linear(2, 3), "does not fit this Linear"),
    ],
)
def test_a_spec_that_asks_for_what_the_file_does_not_hold(
    path: Path, make: Callable[[dict[str, int]], nn.Module], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(path).build(make)


def test_a_missing_extra_is_said_as_such(path: Path) -> None:
    def make(spec: dict[str, int]) -> nn.Module:
        raise MissingExtraError("install regard[text]")

    with pytest.raises(MissingExtraError, match=r"regard\[text\]"):
        load_checkpoint(path).build(make)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="a device or a pipe"):
        load_checkpoint(tmp_path / "pipe")


@pytest.mark.parametrize(
    "change",
    [
        {"steps": {"a": 1}},
        {"seconds": None},
        {"step": -1},
        {"step": 8, "steps": 7},
        {"step": "3"},
        {"seconds": math.nan},
        {"n_rows": -(2**70)},
        {"unheard": 1},
    ],
)
def test_where_a_run_stands_is_checked_as_it_is_read(change: dict[str, object]) -> None:
    state = RunState(steps=7, step=3, best=0.5, latest=0.25, seconds=1.5, n_rows=2)
    content = json.loads(json.dumps(state.to_json(TrainConfig())["state"]))
    assert RunState.from_json(content) == state
    with pytest.raises((ValueError, TypeError), match=next(iter(change))):
        RunState.from_json(content | change)


def test_when_no_time_is_left_one_step_more_is_taken() -> None:
    state, config = RunState(steps=None, step=5), TrainConfig(max_minutes=1.0)
    assert state.steps_in_time(config, seconds=100.0, each=1.0) == 6
    assert state.steps_in_time(config, seconds=40.0, each=1.0) == 5 + 19  # 95% of the 20 s that are left


def test_training_stores_as_often_as_documented() -> None:
    config = TrainConfig()
    assert (config.patience, config.log_every, config.checkpoint_every, config.devices) == (0, 20, 200, 1)
    for name in ("log_every", "checkpoint_every", "devices"):
        TrainConfig(**{name: 1})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=name):
            TrainConfig(**{name: 0})  # type: ignore[arg-type]


def test_what_may_be_allocated_is_counted_to_the_last_number_and_tensor() -> None:
    with BoundedAllocation(numbers=12, tensors=2):
        torch.zeros(3, 2)
        torch.empty(6)
    with BoundedAllocation(numbers=12, tensors=3), pytest.raises(AllocationError):
        torch.zeros(13)
    with BoundedAllocation(numbers=12, tensors=1), pytest.raises(AllocationError):
        torch.ones(1)
        torch.ones(1)
    layer = torch.ones(5)
    with BoundedAllocation(numbers=5, tensors=1):
        layer.clone()
    with BoundedAllocation(numbers=4, tensors=1), pytest.raises(AllocationError):
        layer.clone()
