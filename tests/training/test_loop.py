from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from regard.episode import Episode
from regard.errors import ConfigError, DivergenceError, StorageError
from regard.learners.base import Learner
from regard.learners.prototypical import Prototypical
from regard.sampling.episodes import EpisodeSampler
from regard.training import Report, Silent, TrainConfig, fast_bf16, load_checkpoint, logs, loop, train
from regard.training.batches import Batches
from regard.training.logs import read_metrics
from regard.training.optimization import learning_rate, make_optimizer
from regard.training.precision import resolve_precision
from regard.training.state import RunState

Make = Callable[[], Prototypical]


class Watch(Silent):
    """Remembers what it was told."""

    def __init__(self, act: Callable[[Report], None] = lambda report: None) -> None:
        self.reports: list[Report] = []
        self.stopped, self.act = False, act

    def advance(self, report: Report) -> None:
        self.reports.append(report)
        self.act(report)

    def stop(self) -> None:
        self.stopped = True


def weights(learner: nn.Module) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in learner.state_dict().items()}


def assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_it_is_the_plain_loop(make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path) -> None:
    """Two ways agree: Fabric's loop, and the six lines anybody would write."""
    config = tiny.model_copy(update={"tasks_per_step": 3})
    learner, plain = make_learner(), make_learner()
    train(learner, sampler, config, folder=tmp_path, progress=Silent())
    optimizer = make_optimizer(plain, config)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step, config.steps)
        optimizer.zero_grad()
        for number in range(3 * step, 3 * step + 3):
            (plain.loss(sampler([number])).sum() / 3).backward()
        optimizer.step()
    assert_equal(weights(learner), weights(plain))


def test_it_learns(make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path) -> None:
    config = tiny.model_copy(update={"steps": 80, "learning_rate": 0.02, "validate_every": 80})
    train(make_learner(), sampler, config, folder=tmp_path, progress=Silent())
    loss = [row["loss"] for row in read_metrics(tmp_path / "metrics.csv")]
    assert np.mean(loss[-5:]) < 0.85 * np.mean(loss[:5])


def test_logs_and_reports(make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path) -> None:
    watch = Watch()
    config = tiny.model_copy(update={"tensorboard": True})
    result = train(make_learner(), sampler, config, validation_sampler=sampler, folder=tmp_path, progress=watch)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in rows if "validation_accuracy" in row] == [6, 12]
    assert rows[0]["loss"] == pytest.approx(np.mean([r.loss for r in watch.reports[:2]]))
    assert [r.step for r in watch.reports] == list(range(1, 13))
    assert watch.reports[-1].seconds_left == 0
    assert watch.stopped
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert result.best == max(row["validation_accuracy"] for row in rows if "validation_accuracy" in row)
    assert (result.step, result.steps, result.interrupted, result.stopped_early) == (12, 12, False, False)


def test_a_failure_between_checkpoints_is_resumed_exactly(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    whole = make_learner()
    train(whole, sampler, tiny, validation_sampler=sampler, folder=tmp_path / "whole", progress=Silent())

    def fail(report: Report) -> None:
        if report.step == 9:
            raise RuntimeError("a power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(make_learner(), sampler, tiny, validation_sampler=sampler, folder=tmp_path / "cut", progress=Watch(fail))
    assert load_checkpoint(tmp_path / "cut/last.safetensors").step == 5
    cut, watch = make_learner(), Watch()
    train(cut, sampler, tiny, validation_sampler=sampler, folder=tmp_path / "cut", progress=watch)
    assert watch.reports[0].step == 6
    assert_equal(weights(whole), weights(cut))
    curves = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(tmp_path / name / "metrics.csv")]
        for name in ("whole", "cut")
    ]
    assert curves[0] == curves[1]


def test_lost_rows_of_the_curves_are_said_on_resume_and_stale_files_go(
    make_learner: Make,
    sampler: EpisodeSampler,
    tiny: TrainConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(report: Report) -> None:
        if report.step == 9:
            raise RuntimeError("a power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(make_learner(), sampler, tiny, folder=tmp_path, progress=Watch(fail))
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    (tmp_path / "metrics.csv").write_text("\n".join(rows[:2]))
    (tmp_path / ".last.safetensors.abc").write_text("half")
    train(make_learner(), sampler, tiny, folder=tmp_path, progress=Silent())
    assert "has 0 of the 2 rows up to step 5" in caplog.text
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.csv")] == [6, 8, 10, 12]
    assert not list(tmp_path.glob(".*"))
    caplog.clear()
    train(make_learner(), sampler, tiny, folder=tmp_path, progress=Silent())
    assert "has 4 of the 6 rows up to step 12" in caplog.text, "the gap is said each time"


def test_rows_are_on_the_disk_before_the_checkpoint_that_counts_them(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(logs.Logs, "sync", lambda self: done.append("rows"))
    monkeypatch.setattr(loop, "save_checkpoint", lambda path, *_, **__: done.append(path.name))
    train(make_learner(), sampler, tiny, folder=tmp_path, progress=Silent())
    assert done == ["last.safetensors", *["rows", "last.safetensors"] * 3]  # the first before there are rows


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_the_work_and_says_how_to_go_on(
    make_learner: Make,
    sampler: EpisodeSampler,
    tiny: TrainConfig,
    tmp_path: Path,
    number: signal.Signals,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole, cut = make_learner(), make_learner()
    train(whole, sampler, tiny, folder=tmp_path / "whole", progress=Silent())
    watch = Watch(lambda report: signal.raise_signal(number) if report.step == 7 else None)
    result = train(make_learner(), sampler, tiny, folder=tmp_path / "cut", progress=watch)
    assert result.interrupted
    assert result.step == load_checkpoint(result.last_checkpoint).step == 8, "the step that was begun is finished"
    assert "after step 8 of 12" in caplog.text
    assert "the same command goes on" in caplog.text
    result = train(cut, sampler, tiny, folder=tmp_path / "cut", progress=Silent())
    assert not result.interrupted
    assert_equal(weights(whole), weights(cut))


def test_a_second_ctrl_c_does_not_wait(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    def impatient(report: Report) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(make_learner(), sampler, tiny, folder=tmp_path, progress=Watch(impatient))


def test_a_finished_run_is_not_run_again(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    first, second, watch = make_learner(), make_learner(), Watch()
    train(first, sampler, tiny, folder=tmp_path, progress=Silent())
    result = train(second, sampler, tiny, folder=tmp_path, progress=watch)
    assert not watch.reports
    assert result.step == 12
    assert_equal(weights(first), weights(second))


def test_other_settings_do_not_go_on_from_an_old_run(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    train(
        make_learner(),
        sampler,
        tiny,
        folder=tmp_path,
        spec={"recipe": {"data": 1, "evaluation": 1}, "width": 4},
        progress=Silent(),
    )
    other = tiny.model_copy(update={"steps": 20, "log_every": 7})
    with pytest.raises(ConfigError, match=r"was 12 and is 20; width is another; recipe\.data is another\. .*False"):
        asked = {"recipe": {"data": 2, "evaluation": 2}, "width": 5}
        train(make_learner(), sampler, other, folder=tmp_path, spec=asked, progress=Silent())
    result = train(make_learner(), sampler, other, folder=tmp_path, resume=False, progress=Silent())
    assert result.step == 20
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.csv")] == [7, 14, 20]


def test_early_stop(make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path) -> None:
    config = tiny.model_copy(
        update={"steps": 500, "validate_every": 1, "patience": 3, "learning_rate": 1e-12, "validation_episodes": 2}
    )
    result = train(make_learner(), sampler, config, validation_sampler=sampler, folder=tmp_path, progress=Silent())
    assert result.stopped_early
    # Nothing changes, and a tie is no improvement: the first validation is the best, and three more are waited for.
    assert (result.best_step, result.step) == (1, 4)
    again = train(make_learner(), sampler, config, validation_sampler=sampler, folder=tmp_path, progress=Silent())
    assert (again.step, again.stopped_early) == (4, True)


def test_the_best_checkpoint_holds_the_best_weights(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    from regard.evaluation.evaluate import evaluate

    config = tiny.model_copy(update={"learning_rate": 0.05, "validate_every": 3})
    result = train(make_learner(), sampler, config, validation_sampler=sampler, folder=tmp_path, progress=Silent())
    assert result.best_checkpoint is not None
    best = load_checkpoint(result.best_checkpoint)
    assert best.step == result.best_step
    assert best.training is None
    judged = evaluate(best.load_into(make_learner()), sampler, config.validation_episodes)
    assert judged.metrics["accuracy"].mean == result.best == best.metrics["validation_accuracy"]


class Poisoned:
    """A source whose step 7 holds values that are not finite."""

    def __init__(self, sampler: EpisodeSampler) -> None:
        self.sampler = sampler

    def __call__(self, numbers: np.ndarray) -> Episode:
        episode = self.sampler(numbers)
        scale = math.nan if 7 in numbers else 1 / 255
        support = replace(episode.support, x=episode.support.x * scale)  # type: ignore[operator]
        return replace(episode, support=support, query_x=episode.query_x * scale)  # type: ignore[operator]


def test_divergence_names_the_step_and_keeps_the_checkpoint(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    learner = make_learner()
    with pytest.raises(
        DivergenceError, match=r"loss of step 7 \(episodes 7\.\.7\) is nan at a learning rate of .*last"
    ):
        train(learner, Poisoned(sampler), tiny, folder=tmp_path, progress=Silent())
    assert load_checkpoint(tmp_path / "last.safetensors").step == 5
    assert all(bool(torch.isfinite(t).all()) for t in learner.state_dict().values()), "the weights were poisoned"


class Rooted(Learner):
    """A loss that is finite at 0 and has no gradient there."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def adapt(self, support: object) -> None: ...

    def predict(self, state: object, query_x: object) -> Tensor:
        return torch.zeros(0)

    def loss(self, episode: Episode) -> Tensor:
        return self.weight.sqrt()


def test_a_gradient_that_is_not_finite_is_found_before_the_step(
    sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    learner = Rooted()
    with pytest.raises(DivergenceError, match="gradient of step 0"):
        train(learner, sampler, tiny, folder=tmp_path, progress=Silent())
    assert learner.weight.item() == 0


def test_a_full_disk_says_so(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if "last" in self.name and watch.reports:
            write_bytes(self, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return write_bytes(self, data)

    watch = Watch()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"No space left on device.*nothing was changed"):
        train(make_learner(), sampler, tiny, folder=tmp_path, progress=watch)
    assert load_checkpoint(tmp_path / "last.safetensors").step == 0


def test_bf16_takes_nearly_the_same_steps(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        learner, watch = make_learner(), Watch()
        config = tiny.model_copy(update={"precision": precision})
        train(learner, sampler, config, folder=tmp_path / precision, progress=watch)
        losses.append([report.loss for report in watch.reports])
        assert {t.dtype for t in learner.state_dict().values()} == {torch.float32}
    assert losses[0] != losses[1], "bf16 was not in effect"
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_precision_auto_follows_the_machine() -> None:
    assert isinstance(fast_bf16(), bool)
    assert resolve_precision("auto", "cpu") == ("bf16-mixed" if fast_bf16() else "32-true")
    assert resolve_precision("32-true", "cpu") == "32-true"
    assert not fast_bf16("mps")


def test_memory_is_flat(make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path) -> None:
    resident: dict[int, int] = {}

    def measure(report: Report) -> None:
        if report.step in (100, 400):
            resident[report.step] = int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to read a process's memory")
    config = tiny.model_copy(update={"steps": 400, "validate_every": 50, "checkpoint_every": 50})
    train(
        make_learner(),
        sampler,
        config,
        validation_sampler=sampler,
        folder=tmp_path,
        progress=(watch := Watch(measure)),
    )
    watch.reports.clear()
    # One kept graph of this learner is about 0.1 MB: 300 of them would show.
    assert resident[400] - resident[100] < 6e6


def test_a_step_leaves_no_seeds_behind(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    # torch.manual_seed keeps a stack trace a call for devices that are not there (and is a millisecond slower for it).
    waiting: list[object] = torch.cuda._queued_calls  # type: ignore[attr-defined]
    before = len(waiting)
    train(make_learner(), sampler, tiny, folder=tmp_path, progress=Silent())
    assert len(waiting) - before < tiny.steps


def test_steps_are_fitted_to_the_time_and_kept(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    config = tiny.model_copy(update={"max_minutes": 0.03})
    whole = make_learner()
    result = train(whole, sampler, config, validation_sampler=sampler, folder=tmp_path, progress=Silent())
    assert result.steps is not None
    assert result.step == result.steps > 20
    assert result.seconds < 3 * 0.03 * 60
    saved = load_checkpoint(tmp_path / "last.safetensors")
    assert saved.training is not None
    assert saved.training["state"]["steps"] == result.steps

    def fail(report: Report) -> None:
        if report.step == 21:
            raise RuntimeError("a power cut")

    # Long enough that steps are left on a busy machine.
    config = config.model_copy(update={"max_minutes": 10.0})
    with pytest.raises(RuntimeError):
        train(make_learner(), sampler, config, folder=tmp_path / "cut", progress=Watch(fail))
    fitted = load_checkpoint(tmp_path / "cut/last.safetensors").training
    assert fitted is not None
    watch = Watch(fail)
    with pytest.raises(RuntimeError):
        train(make_learner(), sampler, config, folder=tmp_path / "cut", progress=watch)
    assert watch.reports[0].steps == fitted["state"]["steps"]


class Clock:
    """Time that passes only with steps: `pace` seconds each."""

    def __init__(self) -> None:
        self.now, self.pace = 0.0, 0.5

    def perf_counter(self) -> float:
        return self.now


def test_steps_are_fitted_again_after_a_busy_start_and_a_resumed_run_fits_the_same(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    config = tiny.model_copy(update={"max_minutes": 4.0, "validate_every": 1000, "checkpoint_every": 20})

    def run(folder: str, pace: float, fall: int | None = None) -> tuple[Learner, Watch]:
        def look(report: Report) -> None:
            clock.pace = 2.0 if report.step < 22 else 0.5
            if report.step == fall:
                raise RuntimeError("a power cut")

        learner, watch, clock.pace = make_learner(), Watch(look), pace
        learner.register_forward_hook(lambda *_: setattr(clock, "now", clock.now + clock.pace))
        train(learner, sampler, config, folder=tmp_path / folder, progress=watch)
        return learner, watch

    whole, watch = run("whole", pace=2.0)
    fitted = list(dict.fromkeys(r.steps for r in watch.reports))
    possible = 22 + (240 - 44) / 0.5
    assert fitted[:2] == [None, 20 + int(0.95 * 200 / 2)]
    changes = zip(watch.reports, watch.reports[1:], strict=False)
    assert [after.step for before, after in changes if before.steps != after.steps] == [20, 25, 3 * 25]
    assert fitted == sorted(fitted, key=lambda n: n or 0) and 0.85 * possible < fitted[-1] < possible
    with pytest.raises(RuntimeError):  # after it was fitted again once, and before the second time
        run("cut", 2.0, fall=60)
    resumed, watch = run("cut", pace=0.5)
    assert watch.reports[-1].step == fitted[-1]
    assert_equal(weights(whole), weights(resumed))


def test_many_steps_are_fitted_again_after_an_eighth_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "time", Clock())
    made = object.__new__(loop._Run)
    vars(made).update(
        config=TrainConfig(max_minutes=10.0), state=RunState(steps=None, step=20), fabric=Fabric(accelerator="cpu"),
        writes=False, _durations=[1.0] * 20, _step_began=0.0, _began=-20.0,
    )  # fmt: skip
    # What is not timed is validation: no time has passed on this clock but the 20 s of 20 steps.
    made._durations[-1] = 0.0
    made._durations[-2] = 2.0
    made._fit_steps()
    assert made.state.steps == 20 + int(0.95 * (600 - 20)) == 571
    assert made.state.refit_at == 571 // 8


def test_the_callers_random_numbers_and_signals_are_left_alone(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    learner, handler = make_learner(), signal.getsignal(signal.SIGINT)
    before = torch.get_rng_state()
    train(learner, sampler, tiny, folder=tmp_path, progress=Silent())
    assert torch.equal(before, torch.get_rng_state())
    assert signal.getsignal(signal.SIGINT) is handler


def test_it_runs_outside_the_main_thread(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    results = []

    def work() -> None:
        results.append(train(make_learner(), sampler, tiny, folder=tmp_path, progress=Silent()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results[0].step == 12


def test_ranks_share_the_episodes_of_a_step(sampler: EpisodeSampler) -> None:
    cpu = torch.device("cpu")
    whole = [Batches(sampler, 6, rank, 3, cpu).chunks(5) for rank in range(3)]
    assert [[chunk.tolist() for chunk in chunks] for chunks in whole] == [[[30, 33]], [[31, 34]], [[32, 35]]]
    ones = [Batches(sampler, 6, rank, 3, cpu, 1).chunks(5) for rank in range(3)]
    assert [[chunk.tolist() for chunk in chunks] for chunks in ones] == [[[30], [33]], [[31], [34]], [[32], [35]]]
    twos = [Batches(sampler, 12, rank, 3, cpu, 2).chunks(1) for rank in range(3)]
    assert [chunk.tolist() for chunks in zip(*twos, strict=True) for chunk in chunks] == np.arange(12, 24).reshape(
        6, 2
    ).tolist()
    with pytest.raises(ConfigError, match="tasks_per_step is 6 for 2 processes and tasks_at_once 2"):
        Batches(sampler, 6, 0, 2, cpu, 2)
    with pytest.raises(ConfigError, match="tasks_per_step is 5 for 2 processes"):
        Batches(sampler, 5, 0, 2, cpu)


def test_a_source_that_fails_is_heard(make_learner: Make, tiny: TrainConfig, tmp_path: Path) -> None:
    def source(numbers: np.ndarray) -> Episode:
        raise ValueError("no such file")

    with pytest.raises(ValueError, match="no such file"):
        train(make_learner(), source, tiny, folder=tmp_path, progress=Silent())


def test_nothing_to_train(make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path) -> None:
    learner = make_learner().requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing to train"):
        train(learner, sampler, tiny, folder=tmp_path, progress=Silent())


def test_a_spec_that_is_not_json_is_refused_before_the_first_step(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="spec must be JSON"):
        train(make_learner(), sampler, tiny, folder=tmp_path, spec={"encoder": nn.Identity()}, progress=Silent())


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_learning_rate(schedule: str) -> None:
    config = TrainConfig(steps=100, warmup_steps=9, schedule=schedule, learning_rate=2.0)  # type: ignore[arg-type]
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == 2.0
    assert np.all(np.diff(rates[:10]) > 0)
    assert rates[-1] < 0.01 if schedule == "cosine" else rates[-1] == 2.0
    # While the number of steps is being fitted, the rate is the one it will have had.
    assert [learning_rate(config, step, None) for step in range(10)] == rates[:10]


def test_weight_decay_leaves_norms_and_biases_alone(make_learner: Make) -> None:
    matrices, vectors = make_optimizer(make_learner(), TrainConfig(weight_decay=0.1)).param_groups
    assert matrices["weight_decay"] == 0.1
    assert vectors["weight_decay"] == 0
    assert all(p.ndim == 4 for p in matrices["params"])


def test_what_is_best_is_decided_by_the_metric_that_was_asked_for(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    config = tiny.model_copy(update={"validation_metric": "nll", "validate_every": 1})
    result = train(make_learner(), sampler, config, validation_sampler=sampler, folder=tmp_path, progress=Silent())
    rows = [row["validation_nll"] for row in read_metrics(tmp_path / "metrics.csv")]
    assert result.metric == "nll" and result.best == pytest.approx(min(v for v in rows if v is not None))


@pytest.mark.parametrize("limit", [None, 1e-3])
def test_the_gradient_is_clipped_by_its_norm_before_the_step(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path, limit: float | None
) -> None:
    changes = {"optimizer": "sgd", "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 0, "steps": 1}
    config = tiny.model_copy(update={**changes, "log_every": 1, "learning_rate": 0.5, "grad_clip": limit})
    learner, plain = make_learner(), make_learner()
    train(learner, sampler, config, folder=tmp_path, progress=Silent())
    plain.loss(sampler([0])).mean().backward()
    gradient = torch.cat([p.grad.flatten() for p in plain.parameters() if p.grad is not None])
    before, after = (torch.cat([p.detach().flatten() for p in each.parameters()]) for each in (plain, learner))
    norm = float(gradient.norm())
    assert norm > 2e-3, "nothing would be clipped"
    scale = 1.0 if limit is None else limit / norm
    torch.testing.assert_close(before - after, 0.5 * scale * gradient, rtol=1e-3, atol=1e-7)
    assert read_metrics(tmp_path / "metrics.csv")[0]["gradient_norm"] == pytest.approx(norm, rel=1e-4)


def test_tasks_at_once_changes_the_sum_by_rounding_alone(
    make_learner: Make, sampler: EpisodeSampler, tiny: TrainConfig, tmp_path: Path
) -> None:
    found = []
    for at_once in ("auto", 1, 2, 4):
        learner = make_learner()
        config = tiny.model_copy(update={"tasks_per_step": 4, "tasks_at_once": at_once, "optimizer": "sgd"})
        train(learner, sampler, config, folder=tmp_path / str(at_once), progress=Silent())
        found.append(weights(learner))
    assert_equal(found[0], found[1])
    for other in found[2:]:
        for name, tensor in found[0].items():
            torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="at least 1"):
        TrainConfig(tasks_at_once=0)


def test_a_thousand_processes_on_a_cpu_are_refused_in_one_line(
    sampler: EpisodeSampler, make_learner: Make, tiny: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"train.devices is 1000: expected at most \d+ on this machine") as caught:
        train(make_learner(), sampler, tiny.model_copy(update={"devices": 1000}), folder=tmp_path)
    assert "\n" not in str(caught.value)
