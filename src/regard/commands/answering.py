"""The commands that answer: label, explain, choose the next experiment, act, serve, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regard.commands.options import Checkpoint, JsonFile, Settings
from regard.commands.terminal import visible

answering = typer.Typer()


@answering.command()
def predict(
    checkpoint: Annotated[
        str, typer.Argument(help="A model that ships, such as characters; a checkpoint, or the folder of a run.")
    ],
    support: Annotated[
        Path,
        typer.Option(help="Labelled examples: a folder per class; CSV text,label; demonstrations; sentence pairs."),
    ],
    query: Annotated[Path, typer.Option(help="What to label: images; a text file, one text per line; observations.")],
    json: JsonFile = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Also write the learner with your classes inside: .onnx, or .html for a page; see `export`."),
    ] = None,
    regression: Annotated[bool, typer.Option(help="Labels are numbers, where a model's name stands for both.")] = False,
) -> None:
    """Label new things from a few labelled examples of your own; numbers, with a model for numbers."""
    from regard.commands.predict import predict_files, show_predictions, write_predictions
    from regard.recipes.trained import TrainedLearner

    trained = TrainedLearner.shared(checkpoint, regression=regression or None)
    domain = trained.domain
    if domain.translates:
        from regard.commands.translate import show_translations, translate_files, write_translations

        sentences, found = translate_files(checkpoint, support, query)
        show_translations(sentences, found)
        if json is not None:
            write_translations(json, sentences, found)
        return
    if domain.acts:
        from regard.commands.act import act_on_files, show_actions, write_actions

        actions = act_on_files(checkpoint, support, query)
        show_actions(actions)
        if json is not None:
            write_actions(json, actions)
        return
    if regression or not trained.learner.classifies:
        from regard.commands.numbers import predict_numbers, show_numbers, write_numbers

        numbers = predict_numbers(checkpoint, support, query, export)
        show_numbers(numbers)
        if json is not None:
            write_numbers(json, numbers)
        return
    predictions = predict_files(checkpoint, support, query, export)
    show_predictions(predictions)
    if json is not None:
        write_predictions(json, predictions)


@answering.command("next")
def next_experiment(
    model: Annotated[
        str, typer.Argument(help="A model that ships, such as materials; a checkpoint, or the folder of a run.")
    ],
    measured: Annotated[Path, typer.Option(help="What was measured: CSV with the columns formula and target.")],
    candidates: Annotated[Path, typer.Option(help="What could be measured: CSV with a column formula.")],
    n: Annotated[int, typer.Option("--number", "-n", min=1, max=100, help="How many to choose.")] = 5,
    minimise: Annotated[bool, typer.Option("--minimise", help="Small values are wanted.")] = False,
    page: Annotated[Path | None, typer.Option(help="Also write a page, with intervals drawn.")] = None,
    json: JsonFile = None,
) -> None:
    """Choose which of your candidates to measure next, by expected improvement."""
    from regard.commands.next_experiment import plan_experiments, show_plan, write_plan

    plan = plan_experiments(model, measured, candidates, n=n, maximise=not minimise)
    show_plan(plan)
    write_plan(plan, page=page, json_file=json)


@answering.command()
def rollout(
    checkpoint: Checkpoint,
    settings: Settings = None,
    out: Annotated[Path, typer.Option(help="Folder for rollout.html, its picture and its film.")] = Path("rollout"),
    demonstrations: Annotated[int, typer.Option(min=1, help="How many the policy is shown.")] = 1,
    task: Annotated[int, typer.Option(min=0, help="Number of the test task.")] = 0,
) -> None:
    """Show what a robot's policy does, and which steps of the demonstrations it acts by."""
    from regard.commands.rollout import show_rollout

    page = show_rollout(checkpoint, out, settings or (), n_demonstrations=demonstrations, task=task)
    typer.echo(f"Open {page} in a browser.")


@answering.command()
def explain(
    learner: Annotated[str, typer.Argument(help="A model that ships, a checkpoint, or the folder of a run.")],
    support: Annotated[Path, typer.Option(help="Labelled examples or sentence pairs, as for `regard predict`.")],
    query: Annotated[Path, typer.Option(help="What to answer and explain, as for `regard predict`.")],
    out: Annotated[Path, typer.Option(help="The page.")] = Path("explanation.html"),
    most: Annotated[int, typer.Option(min=1, help="Queries that are explained.")] = 50,
    regression: Annotated[bool, typer.Option(help="Labels are numbers, to be predicted as such.")] = False,
) -> None:
    """Explain answers: which examples spoke for each, what would turn it, and whether to believe that.

    Of a translation: which pair and word each word came from, drawn.
    """
    from regard.commands.explain import explain_files
    from regard.recipes.trained import TrainedLearner

    trained = TrainedLearner.shared(learner, regression=regression or None)
    if trained.domain.translates:
        from regard.commands.translate import explain_translation_files

        said = explain_translation_files(learner, support, query, out, most)
    else:
        numbers = regression or not trained.learner.classifies
        said = explain_files(learner, support, query, out, most, regression=numbers)
    typer.echo(visible(said, keep="\n"))
    typer.echo(f"Open {out} in a browser.")


@answering.command()
def serve(
    learner: Annotated[str, typer.Argument(help="A model that ships, a checkpoint, or the folder of a run.")],
    host: Annotated[str, typer.Option(help="Address; beyond the loopback it needs REGARD_TOKEN.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes one that is free.")] = 8000,
    folder: Annotated[Path, typer.Option(help="Folder of the handles; they survive a restart.")] = Path("handles"),
    regression: Annotated[bool, typer.Option(help="Answer numbers, where a name stands for both.")] = False,
    max_handles: Annotated[int, typer.Option(min=1, help="Handles that are kept.")] = 1000,
) -> None:
    """Serve a learner over HTTP: adapt once, get a handle, ask it many times."""
    from regard.commands.serve import run_service

    run_service(learner, host, port, folder, regression=regression, max_handles=max_handles)


@answering.command()
def export(
    learner: Annotated[str, typer.Argument(help="A model that ships, a checkpoint, or the folder of a run.")],
    path: Annotated[Path | None, typer.Argument(help="The file: model.onnx.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one page that adapts and answers offline.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32, float16 or int8; a file has float32 by default, a page what suits it.")
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Also write where each query looked.")] = False,
    regression: Annotated[bool, typer.Option(help="Answer numbers, where a name stands for both.")] = False,
    ort: Annotated[
        Path | None, typer.Option(help="With --html: folder of onnxruntime-web; fetched once by default.")
    ] = None,
) -> None:
    """Write a learner as an ONNX file, or as one page that adapts and answers in a browser, offline."""
    from regard.commands.export import export_learner

    typer.echo(export_learner(learner, path, html, precision=precision, tokens=tokens, regression=regression, ort=ort))
