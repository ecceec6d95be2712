"""Robots: success over rollouts, from one, three and five demonstrations, every policy on the same tasks and placements.

    python benchmarks/robots.py reach2d choose2d          NumPy alone, minutes
    python benchmarks/robots.py reacher                   with the extra robots
    python benchmarks/robots.py goals new --data FOLDER   with the extra metaworld; the experts' demonstrations are recorded
                                                          into FOLDER once
    python benchmarks/robots.py reach2d --only attention
    python benchmarks/robots.py faithfulness --explained reach2d reacher goals --data FOLDER
                                                          success without the shown steps that are attended to most
    python benchmarks/robots.py cost                      what adapting and acting take, of the network of Meta-World

Each learner is trained by the recipe of its environment, with the changes that are listed in `VARIANTS`, in a folder
below --runs; one that is there already is taken as it is. Cloning from scratch, replay and nearest state have nothing
but the demonstrations of the task. Another --seed evaluates on other tasks. Every row is written as it is done, and
rows that are there already are left alone unless named by --only. Writes benchmarks/results/robots.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import numpy as np
import torch

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    provenance,
    read_document,
    render_after,
    table,
    write_document,
)
from regard.domains.acting.steps import StepReader
from regard.domains.robots.data import RecordedData
from regard.episode import Support
from regard.evaluation.intervals import Interval, paired_interval
from regard.evaluation.rollouts import (
    CloningFromScratch,
    ExpertPolicy,
    LearnerPolicy,
    NearestState,
    Replay,
    RolloutPolicy,
    evaluate_rollouts,
    success_interval,
)
from regard.explain import attended_rollout, success_without
from regard.explain.demonstrations import Deleted
from regard.learners import FineTuned
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import train_recipe
from regard.recipes.trained import TrainedLearner

ENVIRONMENTS: dict[str, tuple[str, tuple[int, ...], int, int]] = {
    "reach2d": ("reach2d", (1, 3, 5), 60, 3),
    "choose2d": ("choose2d", (1, 5), 60, 3),
    "reacher": ("reacher", (1, 3, 5), 60, 3),
    "goals": ("metaworld", (1, 5), 100, 1),
    "contact": ("metaworld", (1,), 100, 1),
    "new": ("metaworld", (1, 5), 100, 1),
}
"""Recipe, numbers of demonstrations, tasks, and rollouts of each task."""

TITLES = {
    "reach2d": "Reach a hidden place in the plane",
    "choose2d": "Choose the demonstrated object among three",
    "reacher": "MuJoCo's Reacher, hidden target within 2 cm",
    "goals": "Meta-World, unseen goals of trained skills",
    "contact": "Meta-World, unseen goals of peg-insert-side and basketball",
    "new": "Meta-World, the five new skills of ML10",
}

DELETED = (0.33, 0.5, 0.75)
"""Shares of the shown steps that are deleted."""

_PLAIN = ["data.shows_progress=false"]
_MLP = "encoder: {name: MLP, hidden: [128, 128], n_features: 64}"
VARIANTS: dict[str, list[str]] = {
    "attention": [],
    "attention, sparse": ["learner.how=entmax"],
    "attention, hard": ["learner.how=hard"],
    "goal-agnostic": ["data.blind=true"],
    "SNAIL": ["learner={name: SNAIL, n_targets: TARGETS, n_inputs: INPUTS, n_filters: 32, min_sigma: 0.05}"],
    "DeepKernel": [f"learner={{name: DeepKernel, {_MLP}}}", *_PLAIN],
    "Matching": [f"learner={{name: Matching, {_MLP}}}", *_PLAIN],
    "MAML imitation": [
        "learner={name: MAML, inner_lr: 0.05, inner_steps: 3, rates: tensor, first_order: true, "
        "model: {name: MLP, n_inputs: INPUTS, hidden: [64, 64], n_features: TARGETS}}",
        *_PLAIN,
    ],
}
"""What of the recipe is changed for each learner that is trained."""

ADAPTED = "attention, adapted"
ADAPTATION_STEPS = {ADAPTED: 80, "attention, adapted by 160 steps": 160}
"""160 did better on four skills that are neither trained on nor tested, and worse on lever-pull."""

SCRATCH = "cloning from scratch"
OTHERS: dict[str, type[RolloutPolicy]] = {
    SCRATCH: CloningFromScratch,
    "nearest state": NearestState,
    "replay": Replay,
    "expert": ExpertPolicy,
}
ORDER = (*list(VARIANTS)[:1], *ADAPTATION_STEPS, *list(VARIANTS)[1:], *OTHERS)


def recipe_of(environment: str, policy: str, folder: Path | None, steps: int | None) -> Recipe:
    """The recipe of an environment, as it is for a policy."""
    name = ENVIRONMENTS[environment][0]
    settings = [] if folder is None else [f"data.folder={folder}"]
    if name == "metaworld":
        settings.append(f"data.test={'new' if environment == 'new' else 'goals'}")
    plain = Recipe.read(name).learner.options()
    numbers = {"INPUTS": plain.get("n_inputs", 0), "TARGETS": plain["n_targets"]}
    if policy in OTHERS and name != "metaworld":
        settings.append("data.n_tasks=10")  # nothing is trained
    for setting in VARIANTS.get(policy, []):
        for word, number in numbers.items():
            setting = setting.replace(word, str(number))
        settings.append(setting)
    if steps is not None:
        settings.append(f"train.steps={steps}")
    if policy not in ADAPTATION_STEPS and name == "metaworld":
        settings.append("fine_tune.n_steps=0")
    return Recipe.read(name, settings)


def policy_of(arguments: argparse.Namespace, environment: str, policy: str, data: RecordedData) -> tuple[Any, float]:
    """The policy, trained where that is needed, and the seconds of processor time that its training took."""
    if policy in OTHERS:
        made = OTHERS[policy]()
        made.name = policy
        return made, 0.0
    recipe = recipe_of(environment, policy, arguments.data, arguments.steps)
    trained_as = "attention" if policy in ADAPTATION_STEPS else policy
    # Goals and skills are tested with the same learner.
    family = ENVIRONMENTS[environment][0]
    folder = arguments.runs / f"{family}-{trained_as.replace(', ', '-').replace(' ', '-')}"
    began = time.process_time()
    kept = folder / "cpu_seconds.txt"
    if not kept.exists():
        train_recipe(recipe, folder, data=data)
        kept.write_text(f"{time.process_time() - began:.1f}")
    settings = [f"fine_tune.n_steps={ADAPTATION_STEPS.get(policy, 0)}"]
    settings += [f"fine_tune.rows_per_group={data.reader.n_rows}"]
    trained = TrainedLearner.load(folder, settings)
    reader = trained.reader()
    assert isinstance(reader, StepReader)
    return LearnerPolicy(trained.learner, reader, blind=data.blind, name=policy), float(kept.read_text())


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "robots.json",
        data="the recorded demonstrations of Meta-World",
        data_required=False,
        seed=0,
        only=ORDER,
    )
    made.add_argument("environments", nargs="+", choices=(*ENVIRONMENTS, "faithfulness", "cost"), metavar="ENVIRONMENT")
    made.add_argument("--explained", nargs="+", choices=ENVIRONMENTS, default=("reach2d",), help="by faithfulness")
    made.add_argument("--deleted", nargs="+", type=float, default=DELETED, help="shares of the shown steps")
    made.add_argument("--runs", type=Path, default=Path("runs/robots"))
    made.add_argument("--shots", type=int, nargs="+", help="only these numbers of demonstrations")
    made.add_argument("--skills", nargs="+", help="of Meta-World, only these of those that are tested")
    made.add_argument("--steps", type=int, help="training steps, instead of the recipe's")
    return made


def main() -> None:
    """Train, roll out, write."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    for environment in arguments.environments:
        if environment == "cost":
            document = read_document(arguments.out)
            write_document(arguments.out, {**document, **_made(document), "cost": cost()}, indent=None)
            continue
        if environment == "faithfulness":
            for explained in arguments.explained:
                found = faithfulness(arguments, explained)
                document = read_document(arguments.out)
                rows = [row for row in document.get(environment, []) if row["environment"] != explained]
                document = {**document, **_made(document), environment: [*rows, *found]}
                write_document(arguments.out, document, indent=None)
            continue
        _, shots, n_tasks, n_starts = ENVIRONMENTS[environment]
        for policy in arguments.only or ORDER:
            if policy in ADAPTATION_STEPS and environment != "new" and not arguments.only:
                continue
            data: RecordedData | None = None
            made: Any = None
            cpu = 0.0
            for n_shot in arguments.shots or shots:
                if policy in ("replay", "expert", "goal-agnostic") and n_shot != shots[0]:
                    continue  # the same for any number
                document = read_document(arguments.out)
                rows = document.get(environment, [])
                if (
                    any((row["policy"], row["demonstrations"]) == (policy, n_shot) for row in rows)
                    and not arguments.only
                ):
                    continue
                if data is None:
                    recipe = recipe_of(environment, policy, arguments.data, arguments.steps)
                    data = load(recipe, arguments.skills)
                    made, cpu = policy_of(arguments, environment, policy, data)
                n_here = n_tasks if arguments.skills is None else n_tasks * len(data.environments) // 5
                trials = data.trials("test", n_shot, n_here, n_starts, arguments.seed)
                began = time.process_time()
                # What is done of a row is kept until the row is, so that a run that was stopped goes on.
                parts = [environment, policy.replace(", ", "-"), str(n_shot), str(arguments.seed), *data.environments]
                keep = arguments.runs / ("_".join(parts).replace(" ", "-") + ".json")
                keep.parent.mkdir(parents=True, exist_ok=True)
                result = evaluate_rollouts(made, trials, data=environment, seed=arguments.seed, keep=keep)
                names = [name for name, trial in zip(_names(data, trials), trials, strict=True) for _ in trial.tasks]
                row = {
                    "policy": policy,
                    "demonstrations": n_shot,
                    "success": result.per_episode["success"].tolist(),
                    "environment": names,
                    "training_cpu_seconds": cpu,
                    "rollout_cpu_seconds": round(time.process_time() - began, 1),
                }
                print(environment, policy, n_shot, result.metrics["success"], row["rollout_cpu_seconds"], flush=True)
                document = read_document(arguments.out)  # another process may have written
                rows = [
                    r for r in document.get(environment, []) if (r["policy"], r["demonstrations"]) != (policy, n_shot)
                ]
                write_document(arguments.out, {**document, **_made(document), environment: [*rows, row]}, indent=None)
                keep.unlink()
    render_after(arguments, SECTIONS)


def faithfulness(arguments: argparse.Namespace, environment: str) -> list[Document]:
    """Success from one demonstration without a share of the shown steps: the most attended, or random ones."""
    data = load(recipe_of(environment, "attention", arguments.data, arguments.steps), arguments.skills)
    policy, _ = policy_of(arguments, environment, "attention", data)
    trials = data.trials("test", 1, 60, 1, arguments.seed)
    whole = [attended_rollout(policy, trial) for trial in trials]
    outcomes = {(0.0, "attended"): [rollout.success for rollout in whole]}
    for share in arguments.deleted:
        for deleted in get_args(Deleted):
            outcomes[share, deleted] = [
                success_without(policy, trial, share, deleted, rollout=rollout, seed=arguments.seed)
                for trial, rollout in zip(trials, whole, strict=True)
            ]
    rows: list[Document] = []
    for (share, deleted), won in outcomes.items():
        success = np.concatenate(won).astype(int).tolist()
        rows.append({"environment": environment, "share": share, "deleted": deleted, "success": success})
        print(environment, share, deleted, np.mean(success), flush=True)
    return rows


def cost() -> Document:
    """Milliseconds of processor time, medians: one action for 50 tasks at once, and adapting one task of one demonstration.

    Of the network of Meta-World, as it is and with 80 leave-one-out steps; its weights make no difference.
    """
    learner = build_learner(Recipe.read("metaworld").learner.spec()).eval()
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    found: Document = {}
    for name, made in {"in context": learner, ADAPTED: FineTuned(learner, 2, rows_per_group=12)}.items():
        with torch.inference_mode():
            state = made.adapt(Support(normal(50, 12, 29), normal(50, 12, 4)))
            found[f"acting, {name}"] = _milliseconds(
                lambda made=made, state=state: made.predict(state, normal(50, 1, 29)), 15
            )
    one = Support(normal(10, 12, 29), normal(10, 12, 4))
    with torch.inference_mode():
        found["adapting, in context"] = _milliseconds(lambda: learner.adapt(one), 5) / 10
        tuned = [FineTuned(learner, n, rows_per_group=12) for n in (1, 11)]
        few, more = (_milliseconds(lambda t=t: t.adapt(one), 3) / 10 for t in tuned)
    # Of 80 steps, from the difference that ten make.
    found["adapting, 80 steps"] = few + 79 * (more - few) / 10
    return found


def _milliseconds(function: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds + 1):
        began = time.process_time()
        function()
        seconds.append(time.process_time() - began)
    return 1000 * statistics.median(seconds[1:])


def load(recipe: Recipe, skills: list[str] | None) -> RecordedData:
    """The recipe's data, tested on some of its skills, or on all."""
    data = load_data(recipe.data)
    assert isinstance(data, RecordedData)
    kept = {name: make for name, make in data.environments.items() if skills is None or name in skills}
    return replace(data, environments=kept)


def _names(data: RecordedData, trials: list[Any]) -> list[str]:
    by_function = {id(make): name for name, make in data.environments.items()}
    return [by_function[id(trial.environment)] for trial in trials]


def _made(document: Document) -> Document:
    made = provenance(seed=0, interval="Wilson's 95%, over tasks")
    commands = document.get("command", [])
    return {**made, "command": sorted({*commands, made["command"]})}


# ---- the page --------------------------------------------------------------------------------------------------------


def rendered_rows(environment: str, document: Document) -> str:
    """The table of one environment, and what is paired with cloning."""
    rows = document.get(environment, [])
    skills = list(dict.fromkeys(name for row in rows for name in row["environment"]))
    several = len(skills) > 1
    body = []
    for row in sorted(rows, key=lambda r: (ORDER.index(r["policy"]), r["demonstrations"])):
        success = np.asarray(row["success"])
        each = [success[[n == skill for n in row["environment"]]].mean() for skill in skills] if several else []
        any_number = row["policy"] in ("replay", "expert", "goal-agnostic")
        body.append(
            [
                row["policy"],
                "" if any_number and row["policy"] != "replay" else row["demonstrations"],
                _share(success_interval(success)),
                *(f"{100 * share:.0f}" for share in each),
                f"{row['training_cpu_seconds']:.0f} s" if row["training_cpu_seconds"] else "",
            ]
        )
    heads = ["policy", "demonstrations", "success", *(s.removesuffix("-v3") for s in skills if several), "training"]
    lines = [f"## {TITLES[environment]}", "", table(heads, body), ""]
    differences = [line for row in rows for line in _paired(row, rows)]
    if differences:
        lines += ["Paired differences over the same tasks:", "", *differences, ""]
    return "\n".join(lines)


def _paired(row: Document, rows: list[Document]) -> list[str]:
    """An attention policy beside cloning from as many demonstrations."""
    if not row["policy"].startswith("attention"):
        return []
    found = []
    for other in rows:
        if other["policy"] == SCRATCH and other["demonstrations"] == row["demonstrations"]:
            difference = paired_interval(row["success"], other["success"], method="bootstrap")
            low, mean, high = (f"{100 * v:+.0f}" for v in (difference.low, difference.mean, difference.high))
            found.append(
                f"- {row['policy']} - {SCRATCH}, {row['demonstrations']} demonstrations: {mean} [{low}, {high}]"
            )
    return found


def _share(interval: Interval) -> str:
    return f"{100 * interval.mean:.0f}% [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


def section(document: Document) -> str:
    """All environments."""
    parts = [rendered_rows(environment, document) for environment in ENVIRONMENTS if environment in document]
    if "cost" in document:
        rows = [[what, f"{value:.1f}"] for what, value in document["cost"].items()]
        about = "One action for 50 tasks at once, and adapting one task of one demonstration, one thread."
        parts += ["## Cost, in ms of processor time", "", about, "", table(["what", "ms"], rows), ""]
    if "faithfulness" in document:
        parts += [rendered_faithfulness(document["faithfulness"])]
    return "\n".join([*parts, made_by(document)])


def rendered_faithfulness(rows: list[Document]) -> str:
    """Success without attended steps beside success without random ones, paired over tasks."""
    body = []
    for environment in dict.fromkeys(row["environment"] for row in rows):
        of = {
            (r["share"], r["deleted"]): np.asarray(r["success"], np.float64)
            for r in rows
            if r["environment"] == environment
        }
        for share in sorted({share for share, _ in of} - {0.0}):
            attended, random = of[share, "attended"], of[share, "random"]
            cells = [_share(success_interval(won)) for won in (of[0.0, "attended"], random, attended)]
            difference = paired_interval(random, attended, method="bootstrap")
            low, mean, high = (f"{100 * v:+.0f}" for v in (difference.low, difference.mean, difference.high))
            body.append([TITLES[environment], f"{100 * share:.0f}%", *cells, f"{mean} [{low}, {high}]"])
    heads = ["one demonstration", "deleted", "all steps", "without random", "without most attended", "difference"]
    about = "Success when the shown steps that a policy attends to most over the rollout are deleted, and random ones."
    return "\n".join(["## Whether the attention is what it acts by", "", about, "", table(heads, body), ""])


SECTIONS = [Section("robots", "robots.json", section)]

if __name__ == "__main__":
    main()
