"""The Keras models against PyTorch: answers with the same weights, and `fit` against our trainer on the same episodes.

    python benchmarks/keras_models.py --backend tensorflow [--only answers fit laws]

Once for each backend (tensorflow, jax, torch), in an environment that has it; each run adds its part to
benchmarks/results/keras_models.json. Answers: a learner of PyTorch with random weights is saved as a checkpoint, read by
`regard.keras.from_checkpoint`, and both answer the same tasks, with weights of 0, 2 and one half and absent classes.
Fit: both start from the same checkpoint and train on the same generated episodes with Adam, ours by `regard.train`; then
both answer the same episodes of unseen classes. Laws: `check_learner` in double precision.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    points,
    provenance,
    read_document,
    render_after,
    table,
    write_document,
)
from regard.episode import Episode, Items, Support
from regard.errors import LawError
from regard.evaluation import Interval, compare, evaluate
from regard.learners import Learner
from regard.recipes.components import build_learner
from regard.sampling import Dataset, EpisodeSampler
from regard.testing import LAWS, check_learner, random_episode
from regard.training import Silent, TrainConfig, save_checkpoint, train

BACKENDS = ("tensorflow", "jax", "torch")
STEPS, TASKS, N_VALIDATION = 200, 4, 400
Spec = dict[str, Any]


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "keras_models.json", seed=0, only=("answers", "fit", "laws"))
    made.add_argument("--backend", choices=BACKENDS, default="torch", help="of Keras (default torch)")
    made.add_argument("--steps", type=int, default=STEPS, help=f"of each training (default {STEPS})")
    return made


# ---- answers ---------------------------------------------------------------------------------------------------------

_IMAGES: Spec = {"name": "Conv4", "n_filters": 8, "image_size": 16}
_WORDS: Spec = {"name": "TokenLSTM", "n_tokens": 60, "d_embed": 8, "d_hidden": 6, "parts": True}
CASES: dict[str, Spec] = {
    "Prototypical, images": {"name": "Prototypical", "encoder": _IMAGES},
    "Prototypical, strides, batch norm": {
        "name": "Prototypical",
        "encoder": {**_IMAGES, "halve_by": "stride", "norm": "batch"},
    },
    "Prototypical, cosine, transductive norm": {
        "name": "Prototypical",
        "compare": "cosine",
        "scale": 10.0,
        "encoder": {**_IMAGES, "norm": "transductive", "pool": "mean"},
    },
    "Prototypical, texts": {"name": "Prototypical", "encoder": {**_WORDS, "parts": False, "pool": "attention"}},
    "Matching, images": {"name": "Matching", "encoder": {**_IMAGES, "norm": "instance"}},
    "Matching, full context": {"name": "Matching", "n_reads": 3, "encoder": {"name": "MLP", "n_inputs": 6}},
    "Matching, sparsemax": {
        "name": "Matching",
        "how": "sparsemax",
        "scale": 2.0,
        "encoder": {"name": "MLP", "n_inputs": 6},
    },
    "Matching, entmax": {"name": "Matching", "how": "entmax", "scale": 2.0, "encoder": {"name": "MLP", "n_inputs": 6}},
    "Matching, two neighbours": {
        "name": "Matching",
        "how": "hard",
        "n_neighbours": 2,
        "encoder": {"name": "Flat"},
    },
    "CrossTransformer, images": {
        "name": "CrossTransformer",
        "d_head": 8,
        "encoder": {**_IMAGES, "parts": True, "n_halvings": 2},
    },
    "CrossTransformer, residual maps": {
        "name": "CrossTransformer",
        "encoder": {"name": "ResidualMaps", "width": 16, "stem": [4, 8], "norm": "batch", "parts": True},
    },
    "AttentionMetaLearner, texts": {"name": "AttentionMetaLearner", "encoder": _WORDS},
    "AttentionMetaLearner, word codes, n-grams, rarity": {
        "name": "AttentionMetaLearner",
        "encoder": {**_WORDS, "d_hash": 16, "vocabulary_size": 20},
    },
    "AttentionMetaLearner, two layers, entmax": {
        "name": "AttentionMetaLearner",
        "how": "entmax",
        "compare": "dot",
        "encoder": {**_WORDS, "n_layers": 2},
    },
    "AttentionMetaLearner, images": {
        "name": "AttentionMetaLearner",
        "encoder": {**_IMAGES, "parts": True, "n_halvings": 2},
    },
}
"""Learners by what is tried of them."""


def random_learner(spec: Spec, seed: int = 0) -> Learner:
    """A learner whose every weight is off its start, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner = build_learner(spec).eval()
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
        for name, buffer in learner.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
            elif name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
    return learner


def save_learner(path: Path, spec: Spec, learner: Learner) -> Path:
    """A checkpoint as `regard train` writes it."""
    save_checkpoint(path, learner, spec={"learner": spec, "items": {"domain": learner.domain}})
    return path


def random_items(spec: Spec, n_tasks: int, n_rows: int, generator: torch.Generator) -> Items:
    """Items that the learner's encoder reads: images, rows of numbers, or tokens with holes in their mask."""
    encoder, leading = spec["encoder"], (n_tasks, n_rows)
    if encoder["name"] == "TokenLSTM":
        shape = (*leading, 7, 4) if "d_hash" in encoder else (*leading, 7)
        ids = torch.randint(0, encoder["n_tokens"], shape, generator=generator)
        first = ids[..., 0] if len(shape) == 4 else ids
        first.clamp_(min=1)
        mask = torch.rand(first.shape, generator=generator) > 0.3
        items: dict[str, torch.Tensor] = {"ids": ids, "mask": mask}
        if "d_hash" in encoder:
            items["rarity"] = 3 * torch.rand(first.shape, generator=generator) * mask
        return items
    size = {"Conv4": (16, 16), "ResidualMaps": (28, 28)}.get(encoder["name"], (6,))
    return torch.rand((*leading, *size), generator=generator)


def random_task(spec: Spec, seed: int = 0) -> tuple[Support, Items]:
    """Three tasks of up to four classes, unbalanced and weighted, and five queries each."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.tensor([[0, 0, 1, 1, 2, 2, 3, 3, 3], [0, 1, 2, 3, 0, 1, 2, 3, 0], [0, 0, 0, 1, 1, 1, 2, 2, 2]])
    weight = torch.ones(y.shape)
    weight[0, 1], weight[0, 4], weight[1, 3], weight[2, 0] = 0.0, 2.0, 0.5, 0.0
    support = Support(random_items(spec, *y.shape, generator), y, weight, 4)
    return support, random_items(spec, 3, 5, generator)


def in_numpy(x: Items) -> Any:
    """Items as a user of Keras has them."""
    return {key: t.numpy() for key, t in x.items()} if isinstance(x, dict) else x.numpy()


def answer_errors(spec: Spec, folder: Path) -> dict[str, float]:
    """Largest differences of logits, relative to 1 + their size, of probabilities and of attention.

    A constant per query is no difference of logits.
    """
    import regard.keras as models

    learner, (support, query) = random_learner(spec), random_task(spec)
    model = models.from_checkpoint(save_learner(folder / "learner.safetensors", spec, learner))
    with torch.no_grad():
        state = learner.adapt(support)
        # In one call: batch statistics of a transductive norm are those of support and queries together.
        logits: Any = learner(Episode(support, query, torch.zeros(3, 5, dtype=torch.int64)))
        inputs = ((in_numpy(support.x), support.membership().numpy()), in_numpy(query))
        got = torch.from_numpy(compiled_call(model, inputs, attending=False))
        present = torch.isfinite(logits)
        centred, got_centred = (
            torch.where(present, t - torch.where(present, t, -1e9).amax(-1, keepdim=True), 0.0) for t in (logits, got)
        )
        errors = {
            "logits": float(((centred - got_centred).abs() / (1 + torch.where(present, logits, 0.0).abs())).max()),
            "probabilities": float((logits.softmax(-1) - got.softmax(-1)).abs().max()),
        }
        if hasattr(learner, "attend"):
            attention = torch.from_numpy(compiled_call(model, inputs, attending=True))
            errors["attention"] = float((learner.attend(state, query) - attention).abs().max())  # pyright: ignore
    return errors


def compiled_call(model: Any, inputs: Any, *, attending: bool) -> Any:
    """Logits or attention in NumPy; JAX would compile every operation of a plain call by itself."""
    import keras

    def call(given: Any) -> Any:
        return model(*given, attending=attending)

    if keras.backend.backend() != "jax":
        return to_numpy(call(inputs))
    import jax

    return to_numpy(jax.jit(call)(inputs))


def to_numpy(x: Any) -> Any:
    """Of any backend, and the caller's own."""
    import keras

    return np.array(keras.ops.convert_to_numpy(x))


def measure_answers() -> Document:
    """Errors of every case."""
    with tempfile.TemporaryDirectory() as folder:
        return {name: answer_errors(spec, Path(folder)) for name, spec in CASES.items()}


# ---- fit -------------------------------------------------------------------------------------------------------------

LEARNERS: dict[str, tuple[Spec, str]] = {
    "Prototypical": ({"name": "Prototypical", "encoder": {"name": "MLP", "n_inputs": 32}}, "rows"),
    "Matching": ({"name": "Matching", "encoder": {"name": "MLP", "n_inputs": 32}}, "rows"),
    "CrossTransformer": (
        {"name": "CrossTransformer", "d_head": 32, "encoder": {"name": "MLP", "n_inputs": 8, "parts": True}},
        "parts",
    ),
    "AttentionMetaLearner": (
        {
            "name": "AttentionMetaLearner",
            "encoder": {"name": "TokenLSTM", "n_tokens": 150, "d_embed": 16, "d_hidden": 16, "parts": True},
        },
        "words",
    ),
}


def generated_data(kind: str, seed: int) -> Dataset:
    """60 classes of 20 items: numbers whose first four columns tell classes apart, or words of which a class has six."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(60).repeat_interleave(20)
    if kind == "words":
        keywords = torch.randint(2, 150, (60, 1, 6), generator=generator).expand(60, 20, 6)
        pick = torch.randint(0, 6, (60, 20, 8), generator=generator)
        noise = torch.randint(2, 150, (60, 20, 8), generator=generator)
        is_noise = torch.rand(60, 20, 8, generator=generator) < 0.6
        ids = torch.where(is_noise, noise, keywords.gather(2, pick)).flatten(0, 1)
        mask = torch.rand(ids.shape, generator=generator) > 0.1
        return Dataset.of({"ids": ids, "mask": mask}, labels)
    centres = torch.cat([2 * torch.randn(60, 1, 4, generator=generator), torch.zeros(60, 1, 28)], -1)
    rows = (centres + torch.randn(60, 20, 32, generator=generator)).flatten(0, 1)
    return Dataset.of(rows.unflatten(1, (4, 8)) if kind == "parts" else rows, labels)


def samplers(kind: str, seed: int) -> tuple[EpisodeSampler, EpisodeSampler]:
    """Training episodes, and those of the other classes."""
    data = generated_data(kind, seed)
    training, validation = (
        EpisodeSampler(data.select_classes(classes), 5, 2, 5, seed=seed) for classes in (range(40), range(40, 60))
    )
    return training, validation


def fitted(path: Path, training: EpisodeSampler, validation: EpisodeSampler, steps: int, feed: str) -> Any:
    """A Keras model trained by `fit`, on a PyDataset or on tf.data."""
    import keras

    import regard.keras as models

    model = models.from_checkpoint(path)
    data = models.EpisodeDataset(training, steps, TASKS)
    held_out = models.EpisodeDataset(validation, 10, TASKS, repeat=True)
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    model.fit(
        data if feed == "PyDataset" else models.tf_dataset(data), validation_data=held_out, shuffle=False, verbose=0
    )
    return model


def measure_fit(backend: str, steps: int, seed: int) -> Document:
    """Accuracy of ours and of Keras on the same validation episodes, and their paired difference."""
    from regard.keras import as_learner

    settings = TrainConfig(
        steps=steps,
        tasks_per_step=TASKS,
        optimizer="adam",
        schedule="constant",
        warmup_steps=0,
        weight_decay=0.0,
        tensorboard=False,
        validate_every=10**6,
    )
    document: Document = {}
    for name, (spec, kind) in LEARNERS.items():
        training, validation = samplers(kind, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            ours = build_learner(spec)
        with tempfile.TemporaryDirectory() as folder:
            path = save_learner(Path(folder) / "start.safetensors", spec, ours)
            untrained = evaluate(ours, validation, N_VALIDATION).metrics["accuracy"]
            began = time.process_time()
            train(ours, training, settings, folder=Path(folder) / "run", progress=Silent())
            seconds = {"regard.train": time.process_time() - began}
            feeds = ["PyDataset", "tf.data"] if backend == "tensorflow" else ["PyDataset"]
            results = [evaluate(ours, validation, N_VALIDATION, name="regard.train", cache=False)]
            for feed in feeds:
                began = time.process_time()
                model = fitted(path, training, validation, steps, feed)
                seconds[feed] = time.process_time() - began
                results.append(evaluate(as_learner(model), validation, N_VALIDATION, name=feed, batch=16))
        differences = {c.a: c.difference for c in compare(results, ["accuracy"]) if c.b == "regard.train"} | {
            c.b: Interval(-c.difference.mean, -c.difference.high, -c.difference.low)
            for c in compare(results, ["accuracy"])
            if c.a == "regard.train"
        }
        document[name] = {
            "untrained": untrained.mean,
            "accuracy": {r.learner: [r.metrics["accuracy"].mean, r.metrics["accuracy"].half_width] for r in results},
            "difference": {feed: [d.mean, d.low, d.high] for feed, d in differences.items()},
            "cpu_seconds": seconds,
        }
        print(name, document[name], flush=True)
    return document


# ---- laws ------------------------------------------------------------------------------------------------------------


def law_cases() -> Mapping[str, tuple[Callable[[], Any], tuple[int, ...]]]:
    """Small models without kinks, as functions, and the shape of their items."""
    import keras

    import regard.keras as models

    def encoder() -> Any:
        return keras.Sequential([keras.layers.Dense(5, activation="tanh")])

    return {
        "Prototypical": (lambda: models.PrototypicalModel(encoder()), (6,)),
        "Matching": (lambda: models.MatchingModel(encoder()), (6,)),
        "Matching, sparsemax": (lambda: models.MatchingModel(encoder(), how="sparsemax", scale=2.0), (6,)),
        "Matching, full context": (lambda: models.MatchingModel(encoder(), n_reads=2), (6,)),
        "CrossTransformer": (lambda: models.CrossTransformerModel(encoder(), d_head=4), (4, 6)),
        "AttentionMetaLearner": (lambda: models.AttentionMetaModel(encoder(), d_head=5, d_pair=7), (4, 6)),
    }


def double_precision(backend: str) -> None:
    """Laws are checked in float64, which Keras, outside TensorFlow, rounds to float32 wherever dtypes meet."""
    import keras
    from keras.src.backend.common import dtypes

    keras.config.set_floatx("float64")
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    if backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)


def make_learner(name: str) -> Learner:
    """A new model as a learner, its weights by torch's global generator."""
    import keras

    from regard.keras import as_learner

    make, item = law_cases()[name]
    seed = int(torch.randint(2**31, ()))
    with torch.random.fork_rng(devices=[]):
        keras.utils.set_random_seed(seed)  # it seeds torch, NumPy and Python, too
        model = make()
        model.make_weights(np.zeros((1, *item)))
    return as_learner(model)


def broken_laws(name: str, laws: Any = LAWS) -> list[str]:
    """What a model breaks of the laws that it claims to keep."""
    item = law_cases()[name][1]
    try:
        make_episode: Callable[[int], Episode] = partial(random_episode, item=item)
        check_learner(partial(make_learner, name), make_episode, laws=laws, tolerance=1e-9)
    except LawError as error:
        return str(error).splitlines()[1:]
    return []


def measure_laws(backend: str) -> Document:
    """What each model breaks."""
    double_precision(backend)
    document: Document = {"laws": len(LAWS), "broken": {}}
    for name in law_cases():
        document["broken"][name] = broken_laws(name)
        print(name, document["broken"][name] or "keeps all", flush=True)
    return document


def main() -> None:
    """Measure one backend and add it to the file."""
    arguments = parser().parse_args()
    os.environ["KERAS_BACKEND"] = arguments.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    torch.set_num_threads(1)
    document = read_document(arguments.out) or {"work": {}, "backends": {}}
    import keras

    document["work"] = {"steps": arguments.steps, "tasks_per_step": TASKS, "episodes": N_VALIDATION}
    entry = document["backends"].setdefault(arguments.backend, {})
    wanted = arguments.only or ["answers", "fit", "laws"]
    if "answers" in wanted:
        entry["answers"] = measure_answers()
    if "fit" in wanted:
        entry["fit"] = measure_fit(arguments.backend, arguments.steps, arguments.seed)
    if "laws" in wanted:  # last: it changes the precision
        entry["laws"] = measure_laws(arguments.backend)
    commands: list[str] = entry.get("command", [])  # parts may be measured one by one
    entry.update(provenance(seed=arguments.seed, interval="95%, over validation episodes"))
    entry["command"] = list(dict.fromkeys([*commands, entry["command"]]))
    entry["versions"] |= {"keras": keras.__version__, **_version_of(arguments.backend)}
    write_document(arguments.out, document)
    render_after(arguments, SECTIONS)


def _version_of(backend: str) -> dict[str, str]:
    from importlib.metadata import version

    package = {"tensorflow": "tensorflow-cpu"}.get(backend, backend)
    return {package: version(package)}


def section(document: Document) -> str:
    """Errors, accuracies and laws."""
    backends = {name: document["backends"][name] for name in BACKENDS if name in document["backends"]}
    answers = {name: entry["answers"] for name, entry in backends.items() if "answers" in entry}
    rows = [[case, *(f"{max(e[case].values()):.1e}" for e in answers.values())] for case in CASES]
    fits = [
        [
            learner,
            name,
            feed,
            f"{100 * entry['accuracy']['regard.train'][0]:.1f} ± {100 * entry['accuracy']['regard.train'][1]:.1f}",
            f"{100 * entry['accuracy'][feed][0]:.1f} ± {100 * entry['accuracy'][feed][1]:.1f}",
            points(Interval(*difference)),
        ]
        for name, backend in backends.items()
        for learner, entry in backend.get("fit", {}).items()
        for feed, difference in entry["difference"].items()
    ]
    laws = [
        f"{name}: {sum(not broken for broken in entry['laws']['broken'].values())} of {len(entry['laws']['broken'])} "
        f"models keep all {entry['laws']['laws']} laws"
        for name, entry in backends.items()
        if "laws" in entry
    ]
    unchecked = [name for name in BACKENDS if "laws" not in backends.get(name, {})]
    if unchecked:
        laws.append(f"{', '.join(unchecked)}: not run by this script; the tests check eleven, on PyTorch all")
    missing = [
        f"{learner} on {name}"
        for name in BACKENDS
        for learner in LEARNERS
        if learner not in backends.get(name, {}).get("fit", {})
    ]
    not_fitted = f" Not measured: {', '.join(missing)}." if missing else ""
    work = document["work"]
    return "\n\n".join(
        [
            "## Keras models",
            "Largest difference from PyTorch with the weights of one checkpoint, of logits (relative to 1 + their size, less the largest of each "
            "query), probabilities and attention; at most 1e-5 is wanted.",
            table(["learner", *answers], rows),
            f"Accuracy on {work['episodes']} 5-way 2-shot episodes of unseen classes, in percent, after {work['steps']} "
            f"steps of {work['tasks_per_step']} tasks from the same start on the same generated episodes, and the paired "
            f"difference of `fit` from `regard.train`; within 2 points is wanted.{not_fitted}",
            table(["learner", "backend", "fed by", "regard.train", "fit", "difference"], fits),
            f"Laws of `check_learner`, in double precision: {'; '.join(laws)}.",
            *(made_by(entry) for entry in backends.values()),
        ]
    )


SECTIONS: tuple[Section, ...] = (Section("keras_models", "keras_models.json", section),)


if __name__ == "__main__":
    main()
