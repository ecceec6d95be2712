"""The command line. PyTorch and the rest are imported inside the commands, so that `--help` is instant."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.commands.answering import answering
from regard.commands.options import Checkpoint, JsonFile, Settings
from regard.commands.terminal import visible
from regard.errors import RegardError

if TYPE_CHECKING:
    from regard.evaluation.compare import Comparison
    from regard.evaluation.result import Result

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help would double the time that --help takes
)

Episodes = Annotated[int | None, typer.Option(min=2, help="Number of episodes; the recipe's by default.")]
Seed = Annotated[
    int, typer.Option(min=0, max=2**63 - 1, help="Random seed of the episodes; the same seed gives the same episodes.")
]
Split = Annotated[str, typer.Option(help="train, validation or test classes.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes that share the work; the results stay the same.")]
Way = Annotated[int | None, typer.Option(min=1, help="Classes per episode; the recipe's settings by default.")]
Shot = Annotated[int | None, typer.Option(min=1, help="Examples per class.")]
Query = Annotated[int | None, typer.Option(min=1, help="Queries per class.")]


def _print_version(wanted: bool) -> bool:
    if wanted:
        from regard import __version__

        typer.echo(f"regard {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Few-shot and meta-learning with attention: learn from a few examples, and see which ones mattered."""


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, results.json and report.html.")] = Path(
        "quickstart"
    ),
    minutes: Annotated[
        float | None,
        typer.Option(help="Training minutes per learner, instead of fixed steps."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 2, help="Random seed of everything.")] = 0,
    episodes: Annotated[int, typer.Option(min=2, help="Episodes per test.")] = 400,
) -> None:
    """Train on letters, evaluate on alphabets never seen, and show what was attended to."""
    from regard.commands.quickstart import quickstart as run

    page = run(out, minutes=minutes, seed=seed, n_episodes=episodes)
    _say(f"\nOpen {page} in a browser.")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, such as glyphs, folder, texts, or a YAML file.")],
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/RECIPE by default.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start from scratch instead of resuming.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Print the recipe, every default spelled out, and stop.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try a few steps, report execution, memory and time, and stop.")
    ] = False,
) -> None:
    """Train a recipe; run it again to resume."""
    from regard.recipes.config import Recipe

    chosen = Recipe.read(recipe, settings or ())
    if show:
        _say(chosen.to_yaml())
        return
    if dry_run:
        from regard.recipes.dry_run import dry_run as find_out

        _say("\n".join(find_out(chosen).lines()))
        return
    from regard.domains.data import LabelledData
    from regard.files import make_folder
    from regard.recipes.config import recipe_names
    from regard.recipes.data import load_data
    from regard.recipes.fitting import fitted_to
    from regard.recipes.run import EvaluationOptions, evaluate_learner, train_recipe
    from regard.recipes.trained import TrainedLearner

    folder = make_folder(out or Path("runs") / Path(recipe).stem, "--out")
    data = load_data(chosen.data)
    if isinstance(data, LabelledData) and recipe in recipe_names():
        # Counts of a recipe that ships are not the user's; those of --set and of the user's own file are.
        chosen, notes = fitted_to(chosen, data, data.evaluation_split, settings=settings or ())
        if notes:
            _say("; ".join(notes) + ".")
    best = train_recipe(chosen, folder, resume=not fresh, data=data)
    trained, options = TrainedLearner.load(best), EvaluationOptions(split=data.evaluation_split)
    results, failed = [], None
    for episodes in chosen.evaluation:
        one = chosen.model_copy(update={"evaluation": (episodes,)})
        try:
            results += evaluate_learner(trained, data, options, recipe=one)
        except RegardError as error:
            failed = error
    _report(results, [], folder / "results.json")
    _say(f"The best checkpoint is {best}.")
    if failed is not None:
        raise failed


@app.command()
def evaluate(
    checkpoint: Checkpoint,
    settings: Settings = None,
    n_way: Way = None,
    n_shot: Shot = None,
    n_query: Query = None,
    episodes: Episodes = None,
    seed: Seed = 0,
    split: Split = "test",
    processes: Processes = 1,
    json: JsonFile = None,
) -> None:
    """Evaluate a trained learner on many new tasks, with confidence intervals."""
    from regard.recipes.run import EvaluationOptions, evaluate_learner
    from regard.recipes.trained import TrainedLearner

    trained = TrainedLearner.load(checkpoint, settings or ())
    options = EvaluationOptions(n_way, n_shot, n_query, episodes, seed, split, processes)
    _report(evaluate_learner(trained, trained.data(), options), [], json)


@app.command()
def compare(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Two or more checkpoints or folders of runs; with --suite, a recipe.")
    ],
    settings: Settings = None,
    n_way: Way = None,
    n_shot: Shot = None,
    n_query: Query = None,
    episodes: Episodes = None,
    seed: Seed = 0,
    split: Split = "test",
    processes: Processes = 1,
    json: JsonFile = None,
    suite: Annotated[
        bool, typer.Option("--suite", help="Train the main learners on the recipe's data, and say which is best.")
    ] = False,
    minutes: Annotated[float, typer.Option(help="With --suite: training minutes per learner.")] = 5.0,
    learners: Annotated[str, typer.Option(help="With --suite: only these, such as FEAT,MAML, and the baselines.")] = "",
    classes: Annotated[
        str, typer.Option(help="With --suite: also train on fewer classes, such as 16,64: the data-hunger curve.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="With --suite: its folder; runs/suite-RECIPE by default.")] = None,
    jobs: Annotated[
        int, typer.Option(help="With --suite: learners that train at a time, each on cores of its own.", min=1)
    ] = 1,
    on: Annotated[
        str, typer.Option(help="With --suite: where they train: local, slurm, or rehearsal, SLURM's jobs started here.")
    ] = "local",
    cluster: Annotated[
        list[str] | None, typer.Option(help="With --on slurm: options of the jobs, such as slurm_partition=gpu.")
    ] = None,
) -> None:
    """Evaluate several learners on the same tasks: paired differences with intervals; ties are reported as ties.

    With --suite they are trained first: regard compare folder --suite --set data.folder=pets --minutes 3
    """
    from regard.recipes.run import EvaluationOptions, compare_checkpoints

    options = EvaluationOptions(n_way, n_shot, n_query, episodes, seed, split, processes)
    if not suite:
        results, comparisons = compare_checkpoints(checkpoints, settings or (), options)
        _report(results, comparisons, json)
        return
    from regard.suite import Workers, publish, run_suite

    if len(checkpoints) != 1:
        raise typer.BadParameter(f"--suite takes one recipe, such as folder or glyphs; got {len(checkpoints)}.")
    recipe = str(checkpoints[0])
    found = run_suite(
        recipe,
        settings or (),
        out=out or Path("runs") / f"suite-{Path(recipe).stem}",
        minutes=minutes,
        learners=_listed(learners),
        classes=_numbers(classes),
        options=options,
        workers=Workers.read(jobs, on, cluster or ()),
    )
    page = publish(found, json)
    _say(f"\nAll of it, with a page to open in a browser, is in {page}.")


@app.command()
def calibrate(
    checkpoint: Checkpoint,
    settings: Settings = None,
    target_error: Annotated[float, typer.Option(help="Largest share of wrong answers among those given.")] = 0.05,
    unknown: Annotated[
        int | None, typer.Option(help="Classes per episode without examples; a quarter of the ways by default.")
    ] = None,
    episodes: Annotated[int, typer.Option(help="Validation episodes, and twice as many of test.")] = 200,
    seed: Seed = 0,
    json: JsonFile = None,
) -> None:
    """Calibrate a learner's probabilities, and when it answers none of these; kept in its checkpoint."""
    from regard.commands.calibrate import calibrate as run
    from regard.commands.calibrate import show_calibrated, write_calibrated

    found = run(
        checkpoint,
        tuple(settings or ()),
        target_error=target_error,
        n_unknown=unknown,
        n_episodes=episodes,
        seed=seed,
    )
    show_calibrated(found)
    if json is not None:
        write_calibrated(json, found)


@app.command()
def doctor(
    checkpoint: Checkpoint,
    settings: Settings = None,
    episodes: Annotated[int, typer.Option(help="How many episodes; more find fainter leaks.")] = 50,
    seed: Seed = 0,
    json: JsonFile = None,
) -> None:
    """Look for leaks that make results void: in the data, the episodes and the answers."""
    from regard.commands.doctor import run_checks, show_findings, write_findings

    findings = run_checks(checkpoint, settings or (), n_episodes=episodes, seed=seed)
    show_findings(findings)
    if json is not None:
        write_findings(json, findings)
    if any(finding.verdict == "failed" for finding in findings):
        raise typer.Exit(1)


app.registered_commands += answering.registered_commands


@app.command("app")
def page(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine.")] = 7860,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
) -> None:
    """Open a local page: draw, drop or paste examples, ask, and see why."""
    from regard.app.page import run_page

    run_page(port, in_browser=open_browser)


@app.command()
def learners() -> None:
    """List the methods: name, year, family, what they predict, and whether they attend."""
    from regard.commands.learners import show_learners

    show_learners()
    _say("\n`regard cite NAME` prints the paper of a learner.")


@app.command()
def cite(learner: Annotated[str, typer.Argument(help="A name from `regard learners`.")]) -> None:
    """Print the BibTeX of a learner."""
    from regard.learners import find_learner, find_reference

    _say("\n\n".join(find_reference(key).bibtex() for key in find_learner(learner).references))


def main() -> None:
    """Run the command line; mistakes of the user end in one message, not in a traceback."""
    # Threads that wait by spinning make PyTorch several times slower where other programs use the cores too. It has to
    # be said before PyTorch is loaded, so here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.showwarning = _show_warning
    try:
        app(standalone_mode=True)
    except RegardError as error:
        message = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
        # What to do, in words of the command line.
        typer.secho(visible(f"error: {message.replace('resume=False', '--fresh')}", keep="\n"), fg="red", err=True)
        sys.exit(1)
    except KeyboardInterrupt as stop:
        typer.secho(str(stop) or "stopped.", fg="yellow", err=True)
        sys.exit(130)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    """One line for the user; where it was raised is of no use on the command line."""
    typer.secho(visible(f"warning: {message}", keep="\n"), fg="yellow", err=True)


def _report(results: list[Result], comparisons: list[Comparison], json: Path | None) -> None:
    from regard.commands.show import show_results

    show_results(results, comparisons)
    if json is not None:
        from regard.evaluation import write_results

        write_results(json, results, comparisons)
        _say(f"Results are in {json}.")


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in _listed(text)]
    except ValueError:
        raise typer.BadParameter(f"--classes {text!r}: expected numbers with commas, such as 16,64,256.") from None


def _say(text: str) -> None:
    typer.echo(visible(text, keep="\n"))


if __name__ == "__main__":
    main()
