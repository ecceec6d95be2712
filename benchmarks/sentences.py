"""The model `sentences` beside the usual methods on the same body, on the same episodes of classes never trained on.

    python benchmarks/sentences.py --data FOLDER [--test FILE] [--trained RUN] [--episodes 300] [--only NAME ...]

FOLDER holds clinc150/, banking77/, huffpost/ and fewrel/. Every text is encoded once by the body as it is and once by
the trained layers; all methods then see the same vectors of the same rows. The probe is logistic regression with C of 1,
10 and 100, and what is compared with is the best of the three on these very episodes; SimpleShot centres vectors by the
mean of training texts. Rejection: requests out of CLINC150's scope among queries of 5-way 5-shot tasks, AUROC.
Writes benchmarks/results/sentences.json.

--test evaluates on other texts alone: one file or a folder, in any form that `regard.domains.texts.corpora` reads
(intents, headlines, relations with entities). --trained takes a run of `regard train sentences` in place of the model.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import torch
from torch import Tensor
from torch.nn import functional as F

from common import (
    Document,
    Probe,
    Section,
    argument_parser,
    command_line,
    episodes_of,
    made_by,
    or_tie,
    out_with_test,
    percent,
    points,
    read_document,
    render_after,
    summarised,
    table,
)
from regard import FewShotClassifier
from regard.commands.show import show_results
from regard.domains.texts.body import StateReader
from regard.domains.texts.corpora import LabelledTexts, read_corpus, read_json
from regard.domains.texts.domain import TEXTS
from regard.domains.texts.sentences import SOURCES
from regard.episode import Items, Support
from regard.evaluation import Result, compare, evaluate, write_results
from regard.evaluation.confidence import auroc
from regard.evaluation.results_json import from_json
from regard.learners import NearestNeighbour, Prototypical, RidgePrototypes, SimpleShot
from regard.learners.base import EncodingLearner, Learner
from regard.nn.encoder import Encoder
from regard.nn.pretrained.text import PretrainedText
from regard.recipes.trained import TrainedLearner
from regard.sampling import Dataset, EpisodeSampler

OURS, NAMED = "sentences", "sentences, with class names"
KINDS = {"clinc150": [(5, 1), (5, 5), (30, 5)], "banking77": [(5, 1), (5, 5), (27, 1), (27, 5)]}
"""Ways and shots of a corpus; of others 5-way 1-shot and 5-shot."""
ALL_WAY_EPISODES = 30


class Column(Encoder):
    """Vectors that an item holds under a name."""

    parts = False

    def __init__(self, name: str, n_features: int) -> None:
        super().__init__()
        self.name, self.n_features = name, n_features

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, dict)
        return x[self.name]


class WithNames(EncodingLearner):
    """Ours with one more example per class: its name, as `FewShotClassifier(label_weight=...)` adds it.

    Each row holds the vector of its class's name beside its own; spread over the rows of a class they weigh as one.
    """

    def __init__(self, head: RidgePrototypes, n_features: int, weight: float) -> None:
        super().__init__()
        self.head, self.weight, self.n_features = head, weight, n_features
        self.encoder = Column("tuned and name", 2 * n_features)

    def adapt_encoded(self, support: Support) -> object:
        z, name = support.x.split(self.n_features, -1)
        mass = support.membership().sum(1).gather(1, support.y).clamp_min(1)
        weight = torch.cat([support.weight, self.weight * support.weight / mass], 1)
        more = Support(torch.cat([z, name], 1), support.y.repeat(1, 2), weight, support.n_classes)
        return self.head.adapt_encoded(more)

    def predict_encoded(self, state: object, query_z: Tensor) -> Tensor:
        return self.head.predict_encoded(state, query_z[..., : self.n_features])  # type: ignore[arg-type, return-value]


class Vectors:
    """Texts to the vectors of the body as it is, of the trained layers, and centred by the mean of training texts."""

    def __init__(self, trained: TrainedLearner) -> None:
        learner = trained.learner
        assert isinstance(learner, RidgePrototypes) and isinstance(learner.encoder, PretrainedText)
        self.tuned, n_layers = learner.encoder, learner.encoder.n_trained_layers
        self.states = StateReader(trained.items["reader"]["body"], n_layers)
        self.plain = self.states.encoder
        self.mean: dict[bool, Tensor] = {}

    def fit_mean(self, texts: LabelledTexts) -> None:
        """The mean of training texts, of sentences or of relations."""
        z, relations = self._encode(self.plain, texts.texts[:: max(1, len(texts) // 300)])
        self.mean[relations] = z.mean(0)

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        body, relations = self._encode(self.plain, texts)
        centred = F.normalize(body - self.mean[relations], dim=-1)
        return {"body": body, "tuned": self.trained(texts), "centred": centred}

    def trained(self, texts: Sequence[str]) -> Tensor:
        """By the trained layers alone."""
        return self._encode(self.tuned, texts)[0]

    def plain_of(self, texts: Sequence[str]) -> Tensor:
        """By the body as it is alone."""
        return self._encode(self.plain, texts)[0]

    def _encode(self, encoder: PretrainedText, texts: Sequence[str]) -> tuple[Tensor, bool]:
        x = self.states(texts)
        with torch.no_grad():
            rows = torch.arange(len(texts)).split(512)
            z = torch.cat([encoder({name: t[some] for name, t in x.items()}) for some in rows])
        relations = not torch.equal(x["head"], x["mask"])
        return z if relations else F.normalize(z[:, : encoder.n_features], dim=-1), relations


def head_on(encoder: Encoder, trained: TrainedLearner) -> RidgePrototypes:
    """The head of a run, on another encoder: vectors of the run's own, say, that were kept."""
    head = RidgePrototypes(encoder)
    numbers = {k: v for k, v in trained.learner.state_dict().items() if not k.startswith("encoder.")}
    head.load_state_dict(numbers, strict=False)
    assert isinstance(trained.learner, RidgePrototypes)
    head.ridge_scale = trained.learner.ridge_scale
    return head


def methods(trained: TrainedLearner, n_features: int) -> dict[str, Learner]:
    """By name: ours, its head on the body as it is, and the usual ones."""
    body = Column("body", n_features)
    ours = head_on(Column("tuned", n_features), trained)
    probes = {f"linear probe, C = {c}": Probe(body, 1 / c) for c in (1, 10, 100)}
    return {
        OURS: ours,
        NAMED: WithNames(ours, n_features, 1.0),
        "its head, body as it is": RidgePrototypes(body),
        **probes,
        "SimpleShot": SimpleShot(Column("centred", n_features), 2),
        "centroid": Prototypical(body, compare="cosine", scale=10),
        "nearest neighbour": NearestNeighbour(body, compare="cosine"),
    }


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "sentences.json",
        data="folders clinc150, banking77, huffpost, fewrel",
        test="other texts: a file or a folder",
        seed=1,
        only=tuple(SOURCES),
    )
    made.add_argument("--trained", default=OURS, metavar="RUN", help="a model by name or the folder of a run")
    made.add_argument("--episodes", type=int, default=300)
    made.add_argument("--rows", type=int, default=60, help="texts of each class, at most")
    return made


def main() -> None:
    """Encode, evaluate, compare, write."""
    arguments = parser().parse_args()
    trained = TrainedLearner.load(arguments.trained)
    vectors = Vectors(trained)
    sources = {name: SOURCES[name](arguments.data / name) for name in arguments.only or SOURCES}
    results: list[Result] = []
    about: Document = {"model": trained.name}
    for name, parts in sources.items():
        vectors.fit_mean(parts["train"])
        if not arguments.test:
            results += measured(
                trained,
                vectors,
                parts["test"].at_most(arguments.rows),
                name,
                KINDS.get(name, [(5, 1), (5, 5)]),
                arguments,
            )
    if arguments.test:
        texts = read_corpus(arguments.test).at_most(arguments.rows)
        n_classes = len(set(texts.labels))
        ways = sorted({min(5, n_classes), min(10, n_classes), n_classes})
        kinds = [(n_way, n_shot) for n_way in ways for n_shot in (1, 5)]
        results += measured(trained, vectors, texts, arguments.test.name, kinds, arguments)
    elif "clinc150" in sources:
        oos = read_corpus_without_labels(arguments.data / "clinc150" / "oos.jsonl.gz")
        known = sources["clinc150"]["test"].at_most(arguments.rows)
        about["rejection"] = rejection(trained, vectors, known, oos, arguments.seed)
        about["seconds"] = seconds(arguments.trained, sources["clinc150"]["test"])
    arguments.out = out_with_test(arguments, "sentences.json")
    if arguments.only and not arguments.test and arguments.out.exists():  # the others stay as they were measured
        before = read_document(arguments.out)
        about = {**before.get("settings", {}), **about}
        results = [result for result in from_json(before)[0] if result.data not in sources] + results
        results.sort(key=lambda result: list(SOURCES).index(result.data))
    groups: dict[object, list[Result]] = {}
    for result in results:
        groups.setdefault((result.data, result.n_way, result.n_shot), []).append(result)
    comparisons = [
        pair for group in groups.values() for pair in compare(group, ["accuracy"]) if OURS in (pair.a, pair.b)
    ]
    show_results(results, comparisons)
    for key in ("rejection", "seconds"):
        if key in about:
            print(key, about[key])
    write_results(arguments.out, results, comparisons, settings=about, command=command_line(), raw=True)
    render_after(arguments, SECTIONS)


def read_corpus_without_labels(path: Path) -> list[str]:
    """The texts of a file."""
    from regard.domains.texts.files import read_rows

    return [str(cells["text"]) for _, cells in read_rows(path, ("text",))]


def measured(
    trained: TrainedLearner,
    vectors: Vectors,
    texts: LabelledTexts,
    name: str,
    kinds: Sequence[tuple[int, int]],
    arguments: argparse.Namespace,
) -> list[Result]:
    """Every method on every kind of episodes of one corpus."""
    x = vectors(texts.texts)
    names = class_names(name, texts, arguments.data)
    if names:
        vector = dict(zip(names, vectors.trained(list(names.values())), strict=True))
        x["tuned and name"] = torch.cat([x["tuned"], torch.stack([vector[label] for label in texts.labels])], 1)
    dataset = Dataset.of(x, texts.labels)
    results = []
    for n_way, n_shot in kinds:
        source = EpisodeSampler(dataset, n_way, n_shot, 10, seed=arguments.seed)
        n_episodes = arguments.episodes if n_way <= 10 else min(arguments.episodes, ALL_WAY_EPISODES)
        for method, learner in methods(trained, x["body"].shape[1]).items():
            if method == NAMED and not names:
                continue
            began = time.perf_counter()
            results.append(evaluate(learner, source, n_episodes, name=method, data=name, batch=8))
            accuracy = results[-1].metrics["accuracy"].mean
            print(f"{name} {n_way}-way {n_shot}-shot {method}: {accuracy:.4f}, {time.perf_counter() - began:.1f} s")
    return results


def class_names(corpus: str, texts: LabelledTexts, folder: Path) -> dict[str, str]:
    """The name of each label in words; none where labels are no words, as those of relations."""
    labels = sorted(set(texts.labels))
    if corpus == "huffpost":
        words = read_json(folder / "huffpost" / "label_words.json")
        return {label: words[label].lower() for label in labels}
    relations = any(text.startswith("[E1]") or " [E1] " in text for text in texts.texts[:100])
    return {} if relations else dict(zip(labels, TEXTS.name_examples(labels), strict=True))


def rejection(
    trained: TrainedLearner, vectors: Vectors, known: LabelledTexts, oos: Sequence[str], seed: int
) -> dict[str, float]:
    """AUROC of telling queries of the classes from requests of none, by three signals, over 300 tasks together."""
    x, unknown = vectors(known.texts), vectors(oos[:600])
    dataset = Dataset.of(x, known.labels)
    rows = EpisodeSampler(dataset, 5, 5, 10, seed=seed).rows(range(300))
    ours = methods(trained, x["body"].shape[1])
    signals: dict[str, list[Tensor]] = {"largest cosine": [], "largest probability": [], "cosine, body as it is": []}
    kind = []
    for i in range(len(rows)):
        row = rows[slice(i, i + 1)]
        for method, column in ((OURS, "tuned"), ("its head, body as it is", "body")):
            learner = ours[method]
            assert isinstance(learner, RidgePrototypes)
            support = Support(x[column][row.support], row.support_y, n_classes=5)
            some = torch.arange(50) + 50 * (i % (len(unknown[column]) // 50))
            queries = torch.cat([x[column][row.query[0]], unknown[column][some]])[None]
            with torch.no_grad():
                logits = learner.predict_encoded(learner.adapt_encoded(support), queries)
            assert isinstance(logits, Tensor)
            if method == OURS:
                signals["largest cosine"].append(logits.amax(-1)[0])
                signals["largest probability"].append(logits.softmax(-1).amax(-1)[0])
                kind.append(torch.arange(queries.shape[1]) < row.query.shape[1])
            else:
                signals["cosine, body as it is"].append(logits.amax(-1)[0])
    return {name: auroc(torch.cat(values), torch.cat(kind)) for name, values in signals.items()}


def seconds(model: str, texts: LabelledTexts) -> dict[str, float]:
    """Seconds to fit 25 texts and to predict 50, from strings, once the body is loaded: the median of five."""
    labels = sorted(set(texts.labels))[:5]
    some = texts.of_labels(labels).at_most(15)
    fit = some.at_most(5)
    estimator = FewShotClassifier(model).fit(fit.texts, fit.labels)
    fits, predictions = [], []
    for _ in range(5):
        began = time.perf_counter()
        estimator.fit(list(fit.texts), list(fit.labels))
        fits.append(time.perf_counter() - began)
        began = time.perf_counter()
        estimator.predict(list(some.texts[:50]))
        predictions.append(time.perf_counter() - began)
    return {"fit 25": sorted(fits)[2], "predict 50": sorted(predictions)[2]}


def section(document: Document) -> str:
    """Accuracy by corpus, and what is gained over the best of the probes and over SimpleShot."""
    results, comparisons = summarised(document)
    lines = ["## Sentences on a pretrained body, classes never trained on", ""]
    names = list(dict.fromkeys(r.learner for r in results))
    kinds = list(dict.fromkeys((r.data, episodes_of(r)) for r in results))
    found = {(r.data, episodes_of(r), r.learner): r for r in results}
    rows = [[d, e, *(percent(found[d, e, n]) if (d, e, n) in found else "" for n in names)] for d, e in kinds]
    lines += [table(["data", "episodes", *names], rows), ""]
    lines += ["Paired differences of accuracy:", ""]
    for data, episodes in kinds:
        probes = [name for name in names if name.startswith("linear probe")]
        best = max(probes, key=lambda name: found[data, episodes, name].metrics["accuracy"].mean)
        for other in (best, "SimpleShot", "its head, body as it is", NAMED):
            for c in comparisons:
                if (c.data, episodes_of(c)) == (data, episodes) and (c.a, c.b) == (OURS, other):
                    lines.append(f"- {data}, {episodes}, over {other}: {points(c.difference)}{or_tie(c)}")
    settings = document.get("settings", {})
    if "rejection" in settings:
        scores = ", ".join(f"{name} {100 * value:.2f}" for name, value in settings["rejection"].items())
        lines += ["", f"Requests of none of the classes, 5-way 5-shot of CLINC150, AUROC: {scores}."]
    if "seconds" in settings:
        spent = settings["seconds"]
        lines += ["", f"From strings: fit 25 in {spent['fit 25']:.2f} s, predict 50 in {spent['predict 50']:.2f} s."]
    return "\n".join([*lines, "", made_by(document)])


SECTIONS = (Section("sentences", "sentences.json", section),)


if __name__ == "__main__":
    main()
