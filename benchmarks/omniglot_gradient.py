"""Gradient learners on Omniglot, 5-way 1-shot: one encoder, as many training tasks, the very same test episodes.

    python benchmarks/omniglot_gradient.py --data FOLDER [--tasks 160000] [--episodes 1000] [--only MAML Reptile]
    python benchmarks/omniglot_gradient.py --data FOLDER --test FILE.npz

FOLDER holds the official zip files or the packed ones with splits.json. Writes benchmarks/results/omniglot_gradient.json
with per-episode values, after every learner. A learner that was trained before (its folder under --runs is complete) is
not trained again, and one that was interrupted is resumed. Each takes 5 to 20 minutes of one core at 160,000 tasks, so
the whole table an afternoon. The paper's MAML was trained on 1.9 million tasks with twice the filters; the recipe
`maml_omniglot` on 320,000. --test evaluates on all characters of a packed file instead.

The protocol is the paper's: rotated characters as classes of their own in training and in testing, one query per class.
MAML is trained with the paper's norm, batch statistics always (its results are marked transductive), and with two that
let no query see another: "group", and "batch" with running averages. Three are trained on fewer tasks, so as to take
about as long: Reptile on an eighth, each of ten examples per class and five inner steps; Proto-MAML and CrossTransformer
on a fifth.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

from common import Document, Section, argument_parser, command_line, out_with_test, packed_test, render_after
from recipes import trained_section
from regard.commands.show import show_results
from regard.domains.data import Data
from regard.evaluation import Result, read_results, write_results
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import EvaluationOptions, compare_by_setting, evaluate_learner, train_recipe
from regard.recipes.trained import load


def encoder(norm: str) -> str:
    """The recipe's encoder, with another norm."""
    return f"{{name: Conv4, n_filters: 32, norm: {norm}, halve_by: stride}}"


def model(norm: str) -> str:
    """It, with a head of five."""
    return f"model: {{n_outputs: 5, encoder: {encoder(norm)}}}"


_MAML = "inner_lr: 0.4, inner_steps: 1, test_steps: 3, execution: vmap"
# The paper of Reptile: 10 examples per class and 5 tasks per step, plain steps, here by the trainer's sgd with momentum.
_REPTILE = (
    *("episodes.n_query=9", "train.tasks_per_step=5"),
    *("train.optimizer=sgd", "train.learning_rate=0.1", "train.warmup_steps=0"),
    "train.validation_episodes=40",  # its 50 steps of adaptation take their time
)
# --tasks is divided by it; what is more than the recipe's own 32 are tasks left out.
_TASKS_A_STEP = {"Reptile": 8 * 5, "Proto-MAML": 5 * 32, "CrossTransformer": 5 * 32}
_ON_FEWER = "Reptile on an eighth of them, Proto-MAML and CrossTransformer on a fifth"
LEARNERS: dict[str, tuple[str, ...]] = {
    "MAML": (f"learner={{name: MAML, {_MAML}, {model('transductive')}}}",),
    "FOMAML": (f"learner={{name: MAML, first_order: true, {_MAML}, {model('transductive')}}}",),
    "ANIL": (f"learner={{name: ANIL, {_MAML}, n_outputs: 5, encoder: {encoder('transductive')}}}",),
    "Meta-SGD": (f"learner={{name: MetaSGD, execution: vmap, {model('transductive')}}}",),
    "Reptile": (f"learner={{name: Reptile, execution: vmap, {model('transductive')}}}", *_REPTILE),
    "Proto-MAML": (
        f"learner={{name: ProtoMAML, inner_steps: 1, execution: vmap, encoder: {encoder('transductive')}}}",
    ),
    "Prototypical": (f"learner={{name: Prototypical, encoder: {encoder('group')}}}",),
    "CrossTransformer": (
        f"learner={{name: CrossTransformer, encoder: {encoder('group')[:-1]}, n_halvings: 2, parts: true}}}}",
    ),
    "MAML, group norm": (f"learner={{name: MAML, {_MAML}, {model('group')}}}",),
    "MAML, running averages": (f"learner={{name: MAML, {_MAML}, {model('batch')}}}",),
}


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "omniglot_gradient.json",
        data="the folder of Omniglot's files",
        test="packed drawings (.npz), 28x28",
        seed=2,
        only=tuple(LEARNERS),
    )
    made.add_argument("--tasks", type=int, default=160_000, help="of training, each learner")
    made.add_argument("--episodes", type=int, default=1000)
    made.add_argument("--runs", type=Path, default=Path("runs/omniglot_gradient"))
    return made


def main() -> None:
    """Train what is missing, test everything, write the raw results."""
    arguments = parser().parse_args()
    arguments.out = out_with_test(arguments, "omniglot_gradient.json")
    data, names = load_data(recipe_of("MAML", arguments).data), arguments.only or list(LEARNERS)
    # The others stay as they were measured.
    results = [r for r in read_results(arguments.out)[0] if r.learner not in names] if arguments.out.exists() else []
    for name in names:
        results += one(name, arguments, data)
        settings = {"tasks": str(arguments.tasks), "on fewer": _ON_FEWER}
        write_results(
            arguments.out, results, compare_by_setting(results), raw=True, settings=settings, command=command_line()
        )
    show_results(results, compare_by_setting(results))
    render_after(arguments, SECTIONS)


def recipe_of(name: str, arguments: argparse.Namespace) -> Recipe:
    """The recipe, changed to this learner and these sizes."""
    steps = arguments.tasks // _TASKS_A_STEP.get(name, 32)
    common = (f"data.folder={arguments.data}", f"train.steps={steps}", f"train.validate_every={max(1, steps // 10)}")
    return Recipe.read("maml_omniglot", (*common, f"evaluation_episodes={arguments.episodes}", *LEARNERS[name]))


def one(name: str, arguments: argparse.Namespace, data: Data) -> list[Result]:
    """Train and test one learner."""
    recipe = recipe_of(name, arguments)
    best = train_recipe(recipe, arguments.runs / name.replace(", ", "_").replace(" ", "_"), data=data)
    print(name, "is trained", flush=True)
    loaded = load(best, packed_test(arguments.test) if arguments.test else (f"data.folder={arguments.data}",))
    source = loaded.data() if arguments.test else data
    return evaluate_learner(loaded.named(name), source, EvaluationOptions(seed=arguments.seed))


def section(document: Document) -> str:
    """Accuracy of each, and paired differences."""
    return trained_section(document, "Omniglot, rotations as classes, learners by gradient")


SECTIONS = (Section("omniglot_gradient", "omniglot_gradient.json", section),)


if __name__ == "__main__":
    main()
