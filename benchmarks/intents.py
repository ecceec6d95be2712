"""The recipe `intents` beside nearest centroids of bags, on the very same episodes of held-out domains.

    python benchmarks/intents.py --data CLINC150 [--test FILE] [--run runs/intents] [--episodes 1000]

Two bags, weighted by inverse document frequency: of words, and of words and character n-grams. And the recipe's learner
untrained, which says what training adds. The items of the test hold all that is read, the tokens and the bags, so all
are evaluated on the very same rows. Writes benchmarks/results/intents.json.

--test evaluates on other intents: JSON as CLINC150's data_full.json ({"test": [[text, intent], ...], ...}), or one JSON
object per line with text, intent and perhaps domain (.jsonl, .jsonl.gz). Intents trained on are left out of it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import torch
from torch import Tensor

from common import Document, Section, argument_parser, command_line, out_with_test, render_after
from recipes import trained_section
from regard.commands.show import show_results
from regard.domains.data import LabelledData
from regard.domains.texts.bag_of_words import Terms, tfidf_dataset, words_and_n_grams
from regard.domains.texts.clinc import Corpus, datasets, read_clinc, split_domains
from regard.domains.texts.tokenizer import Tokenizer, words
from regard.episode import Items
from regard.evaluation import write_results
from regard.learners import Prototypical
from regard.nn.encoder import Encoder
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe
from regard.recipes.run import EvaluationOptions, compare_by_setting, evaluate_learner, learner_spec, train_recipe
from regard.recipes.trained import load

BAGS: dict[str, Terms] = {"bag of words, centroid": words, "words and n-grams, centroid": words_and_n_grams}


class Bag(Encoder):
    """A bag that an item holds beside its tokens."""

    parts = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Items) -> Tensor:
        return x[self.name]  # type: ignore[call-overload]


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "intents.json",
        data="the folder of CLINC150's files",
        test="texts and intents, as CLINC150's data_full.json or one JSON object per line",
        seed=0,
    )
    made.add_argument("--run", type=Path, default=Path("runs/intents"))
    made.add_argument("--episodes", type=int, default=1000)
    return made


def main() -> None:
    """Train where needed, evaluate all, write."""
    arguments = parser().parse_args()
    settings = (f"data.folder={arguments.data}", f"evaluation_episodes={arguments.episodes}")
    recipe = Recipe.read("intents", settings)
    loaded = load(train_recipe(recipe, arguments.run), settings)
    parts = split_domains(read_clinc(arguments.data))
    if arguments.test:
        parts["test"] = unseen(read_test(arguments.test), parts)
    data, tokenizer = loaded.data(), loaded.reader()
    assert isinstance(data, LabelledData) and isinstance(tokenizer, Tokenizer)
    data = with_bags(data, parts, tokenizer)
    options = EvaluationOptions(seed=arguments.seed)
    torch.manual_seed(recipe.train.seed)
    untrained = build_learner(learner_spec(recipe, data)).eval()
    results = evaluate_learner(loaded, data, options)
    results += evaluate_learner(replace(loaded, learner=untrained, name=f"{loaded.name}, untrained"), data, options)
    for name in BAGS:
        centroid = Prototypical(Bag(name), compare="cosine", scale=10)
        results += evaluate_learner(replace(loaded, learner=centroid, name=name), data, options)
    comparisons = compare_by_setting(results)
    show_results(results, comparisons)
    arguments.out = out_with_test(arguments, "intents.json")
    write_results(arguments.out, results, comparisons, command=command_line(), raw=True)
    render_after(arguments, SECTIONS)


def read_test(path: Path) -> Corpus:
    """All texts of a file, of whatever split."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if ".jsonl" in path.suffixes:
        rows = [json.loads(line) for line in content.decode().splitlines() if line.strip()]
    else:
        splits = json.loads(content)
        rows = [{"text": text, "intent": intent} for pairs in splits.values() for text, intent in pairs]
    rows = [row for row in rows if row["intent"] != "oos"]  # out of scope: no intent
    domain = {row["intent"]: row.get("domain", path.stem) for row in rows}
    return Corpus(tuple(row["text"] for row in rows), tuple(row["intent"] for row in rows), domain)


def unseen(corpus: Corpus, parts: dict[str, Corpus]) -> Corpus:
    """The corpus without the intents of training and validation."""
    seen = {intent for name in ("train", "validation") for intent in parts[name].intents}
    kept = [(text, intent) for text, intent in zip(corpus.texts, corpus.intents, strict=True) if intent not in seen]
    if not kept:
        raise SystemExit("--test has no intent that was not trained on: expected others.")
    if left_out := seen & set(corpus.intents):
        print(f"left out {len(left_out)} intents of --test that were trained or validated on")
    texts, intents = zip(*kept, strict=True)
    return Corpus(texts, intents, {intent: corpus.domain[intent] for intent in intents})


def with_bags(data: LabelledData, parts: dict[str, Corpus], tokenizer: Tokenizer) -> LabelledData:
    """The same data, each item of its test with its bags beside its tokens."""
    test = datasets(parts, tokenizer)["test"]
    items = dict(test.x)  # type: ignore[call-overload]
    for name, terms in BAGS.items():
        bags = tfidf_dataset(parts["train"], parts["test"], terms)
        assert test.class_names == bags.class_names and test.y.equal(bags.y)
        items[name] = bags.x
    return replace(data, splits={**data.splits, "test": replace(test, x=items)})


def section(document: Document) -> str:
    """Accuracy of each, and paired differences."""
    return trained_section(document, "CLINC150, intents of domains never trained on")


SECTIONS = (Section("intents", "intents.json", section),)


if __name__ == "__main__":
    main()
