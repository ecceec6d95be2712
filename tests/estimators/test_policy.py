"""A policy from a run: adapt to what was shown, act, and say which steps counted."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import regard
from regard.cli import app
from regard.domains.acting.demonstrations import Demonstrations, record
from regard.domains.acting.files import read_demonstrations
from regard.domains.acting.steps import StepReader
from regard.domains.robots.reach2d import Reach2D
from regard.errors import ConfigError, DataError, MissingExtraError, RegardError
from regard.estimators.policy import FewShotPolicy
from regard.learners.deep_kernel import DeepKernel
from regard.learners.fine_tuned import FineTuned
from regard.recipes.config import Recipe
from regard.recipes.run import train_recipe
from regard.recipes.trained import TrainedLearner

SMALL = [
    "data.n_tasks=20",
    "learner.d_model=16",
    "learner.n_layers=1",
    "train.steps=3",
    "train.validation_episodes=4",
    "train.tensorboard=false",
    "evaluation_episodes=4",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_recipe(Recipe.read("reach2d", SMALL), folder)
    return folder


@pytest.fixture(scope="module")
def shown() -> Demonstrations:
    return record(Reach2D(), [10**6], 3)


def test_it_acts_as_the_learner_predicts(run: Path, shown: Demonstrations) -> None:
    policy = regard.FewShotPolicy(run).fit(shown)
    seen = np.array([[0.1, 0.2], [-0.5, 0.3]])
    trained = TrainedLearner.load(run)
    reader = trained.reader()
    assert isinstance(reader, StepReader)
    state = trained.learner.adapt(reader.support([shown]))
    expected = trained.learner.predict(state, reader(seen)[None]).mean[0]
    np.testing.assert_allclose(policy.act(seen), expected.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(policy.act(seen[0]), expected[0].detach().numpy(), atol=1e-6)


def test_attention_is_over_the_steps_of_each_demonstration(run: Path, shown: Demonstrations) -> None:
    attention = FewShotPolicy(run).fit(shown).attention([[0.1, 0.2]])
    assert [a.shape for a in attention] == [(1, 8)] * 3
    assert sum(a.sum() for a in attention) == pytest.approx(1, abs=1e-5)
    without = FewShotPolicy(run).fit(shown, trust=[1, 0, 1]).attention([[0.1, 0.2]])
    assert without[1].sum() == 0 and without[0].sum() > 0


def test_fine_tuning_is_a_setting(run: Path, shown: Demonstrations) -> None:
    tuned = FewShotPolicy(run, settings=("fine_tune.n_steps=3", "fine_tune.rows_per_group=8"))
    assert isinstance(tuned._learner, FineTuned)
    assert np.abs(tuned.fit(shown).act([0.1, 0.2]) - FewShotPolicy(run).fit(shown).act([0.1, 0.2])).max() > 1e-5


@pytest.mark.parametrize("n_steps", [0, 2], ids=["in context", "adapted"])
def test_it_pickles_and_leaves_as_a_module(run: Path, shown: Demonstrations, n_steps: int) -> None:
    settings = (f"fine_tune.n_steps={n_steps}", "fine_tune.rows_per_group=8")
    policy, seen = FewShotPolicy(run, settings=settings).fit(shown), np.array([[0.1, 0.2], [-0.5, 0.3], [0.9, 0.0]])
    expected = policy.act(seen)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(policy)).act(seen), expected)
    module, x = policy.module(), torch.tensor(seen, dtype=torch.float32)
    with torch.no_grad():
        np.testing.assert_allclose(module(x).numpy(), expected, atol=1e-6)
    if n_steps == 0:
        exported = torch.export.export(module, (x,))
        np.testing.assert_allclose(exported.module()(x).detach().numpy(), expected, atol=1e-6)
    with pytest.raises(ConfigError, match="call fit"):
        FewShotPolicy(run).module()


def test_what_does_not_fit(run: Path, shown: Demonstrations) -> None:
    policy = FewShotPolicy(run)
    with pytest.raises(ConfigError, match="call fit"):
        policy.act([0.0, 0.0])
    wide = Demonstrations.of([(np.zeros((4, 5)), np.zeros((4, 2)))])
    with pytest.raises(DataError, match="5 features and 2 actions"):
        policy.fit(wide)
    with pytest.raises(ValueError, match="expected 2"):
        policy.fit(Demonstrations.of([(np.zeros((4, 2)), np.zeros((4, 3)))]))
    policy.fit(shown)
    with pytest.raises(DataError, match=r"expected \(2,\) or \(B, 2\)"):
        policy.act([0.0, 0.0, 0.0])
    with pytest.raises(DataError, match="not finite"):
        policy.act([0.0, np.nan])
    with pytest.raises(ConfigError, match="predicts no actions"):
        FewShotPolicy("characters")
    with pytest.raises(ConfigError, match="does not attend"):
        FewShotPolicy(DeepKernel()).fit(shown).attention([0.0, 0.0])


def test_commands(run: Path, shown: Demonstrations, tmp_path: Path) -> None:
    shown.save(tmp_path / "shown.npz")
    np.save(tmp_path / "seen.npy", np.array([[0.1, 0.2], [0.3, 0.4]]))
    (tmp_path / "seen.csv").write_text("obs_0,obs_1\n0.1,0.2\n0.3,0.4\n")
    for name in ("seen.npy", "seen.csv"):
        support, query = ["--support", str(tmp_path / "shown.npz")], ["--query", str(tmp_path / name)]
        result = CliRunner().invoke(app, ["predict", str(run), *support, *query, "--json", str(tmp_path / "a.json")])
        assert result.exit_code == 0, result.output
        assert "act_1" in result.output and len(regard_json(tmp_path / "a.json")) == 2
    (tmp_path / "bad.csv").write_text("a,b\nc,d\n")
    result = CliRunner().invoke(app, ["predict", str(run), *support, "--query", str(tmp_path / "bad.csv")])
    assert isinstance(result.exception, DataError)
    result = CliRunner().invoke(app, ["evaluate", str(run), "--episodes", "4", "--json", str(tmp_path / "r.json")])
    assert result.exit_code == 0, result.output
    assert "success" in result.output


HEAD = "demonstration,obs_0,obs_1,act_0,act_1\n"
BAD_DEMONSTRATIONS = {
    "short.csv": (HEAD + "a,0,0,1,1\n", "demonstration 0 has 1 step: expected at least 2"),
    "not_finite.csv": (HEAD + "a,0,0,1,1\na,nan,0,1,1\n", "step 1, are not finite"),
    "action.csv": (HEAD + "a,0,0,1,1\na,0,0,inf,1\n", "actions of demonstration 0, step 1, are not finite"),
    "wide.csv": ("demonstration,obs_0,obs_1,obs_2,act_0,act_1\n" + "a,0,0,0,1,1\n" * 2, "3 features and 2 actions"),
    "one_action.csv": ("demonstration,obs_0,obs_1,act_0\n" + "a,0,0,1\n" * 2, "expected 2"),
    "ragged.csv": (HEAD + "a,0,0,1,1\na,0,0,1\n", "expected a number in every cell"),
    "words.csv": (HEAD + "a,0,0,1,up\na,0,0,1,1\n", "expected a number in every cell"),
    "empty.csv": ("", "expected demonstration, obs_0"),
    "damaged.npz": ("PK nothing", "holds no demonstrations"),
}
BAD_OBSERVATIONS = {
    "wide.npy": (np.zeros((2, 5)), "expected (2,) or (B, 2)"),
    "not_finite.npy": (np.array([[np.nan, 0.0]]), "not finite"),
    "cube.npy": (np.zeros((2, 2, 2)), "expected (2,) or (B, 2)"),
    "words.npy": (np.array(["a"]), "holds no observations"),
    "none.npy": (np.zeros((0, 2)), "holds no observations"),
}


def test_bad_files_are_one_message_and_nothing_is_written(run: Path, shown: Demonstrations, tmp_path: Path) -> None:
    shown.save(tmp_path / "shown.npz")
    np.save(tmp_path / "seen.npy", np.zeros((2, 2)))
    files = {
        name: (tmp_path / name, tmp_path / "seen.npy", message) for name, (_, message) in BAD_DEMONSTRATIONS.items()
    }
    for name, (text, _) in BAD_DEMONSTRATIONS.items():
        (tmp_path / name).write_text(text)
    for name, (array, message) in BAD_OBSERVATIONS.items():
        np.save(tmp_path / name, array)
        files[name] = (tmp_path / "shown.npz", tmp_path / name, message)
    files |= {"missing": (tmp_path / "no.csv", tmp_path / "seen.npy", "is no file: expected demonstrations")}
    for support, query, message in files.values():
        answers = tmp_path / "answers.json"
        command = ["predict", str(run), "--support", str(support), "--query", str(query), "--json", str(answers)]
        result = CliRunner().invoke(app, command)
        # The entry point prints a RegardError as one line.
        assert isinstance(result.exception, RegardError), (support, query, result.output)
        assert message in str(result.exception) and not answers.exists()


@pytest.mark.parametrize(("recipe", "extra"), [("reacher", "robots"), ("metaworld", "metaworld")])
def test_an_environment_that_is_not_installed(
    recipe: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.extras.find_spec", lambda package: None)
    folder = f"data.folder={tmp_path / 'shown'}" if recipe == "metaworld" else "data.n_tasks=2"
    result = CliRunner().invoke(app, ["train", recipe, "--out", str(tmp_path / "run"), "--set", folder])
    assert isinstance(result.exception, MissingExtraError)
    assert f"pip install 'regard[{extra}]'" in str(result.exception)


def test_demonstrations_of_other_lengths_are_fine(run: Path, tmp_path: Path) -> None:
    rows = [f"long,{i / 60},0,1,0\n" for i in range(60)] + ["short,0,0,1,0\nshort,0.1,0,0,0\n"]
    (tmp_path / "two.csv").write_text(HEAD + "".join(rows))
    policy = FewShotPolicy(run).fit(read_demonstrations(tmp_path / "two.csv"))
    assert [a.shape for a in policy.attention([[0.1, 0.2]])] == [(1, 8), (1, 2)]
    assert np.isfinite(policy.act([0.1, 0.2])).all()


def test_the_page_of_a_rollout(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["rollout", str(run), "--out", str(tmp_path / "show"), "--task", "1"])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "show" / "rollout.html").read_text()
    assert "TNPD on reach2d, task 1000001" in page and page.count("data:image/") == 2 and "http" not in page
    assert (tmp_path / "show" / "rollout.gif").read_bytes()[:4] == b"GIF8"


def test_the_doctor_of_demonstrations(run: Path) -> None:
    from regard.commands.doctor import run_checks

    findings = {finding.check: finding.verdict for finding in run_checks(run, n_episodes=4)}
    # Three steps of training: what it is shown makes no difference yet.
    assert findings.pop("the goal is not in the observation") == "failed"
    assert len(findings) == 6 and set(findings.values()) <= {"passed", "does not apply"}


def regard_json(path: Path) -> list[list[float]]:
    import json

    content: list[list[float]] = json.loads(path.read_text())
    torch.testing.assert_close(torch.tensor(content).shape[1], 2)
    return content
