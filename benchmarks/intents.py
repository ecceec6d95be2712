"""The recipe `intents` beside nearest centroids of bags, on the very same episodes of held-out domains.

    python benchmarks/intents.py --folder CLINC150 [--run runs/intents] [--episodes 1000]

Two bags, weighted by inverse document frequency: of words, and of words and character n-grams. And the recipe's learner
before any practice, which says what practice adds. The items of the test hold all that is read, the tokens and the bags,
so all are asked the very same rows. Writes benchmarks/results/intents.json.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

import torch
from torch import Tensor

from regard.commands.show import show_results
from regard.domains.texts.bag_of_words import Terms, tfidf_dataset, words_and_n_grams
from regard.domains.texts.data import read_clinc, split_domains, words
from regard.episode import Items
from regard.evaluation import write_results
from regard.learners import Prototypical
from regard.nn.encoder import Encoder
from regard.recipes.components import build_learner
from regard.recipes.config import Recipe
from regard.recipes.run import compare_by_setting, evaluate_learner, learner_spec, train_recipe
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


def main() -> None:
    """Train where needed, test both, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/intents"))
    parser.add_argument("--episodes", type=int, default=1000)
    arguments = parser.parse_args()
    settings = (f"data.folder={arguments.folder}", f"evaluation_episodes={arguments.episodes}")
    recipe = Recipe.read("intents", settings)
    loaded = load(train_recipe(recipe, arguments.run), settings)
    data = with_bags(loaded.data(), arguments.folder)  # type: ignore[arg-type]
    torch.manual_seed(recipe.train.seed)
    untrained = build_learner(learner_spec(recipe, data)).eval()
    results = evaluate_learner(loaded, data, name=loaded.name)
    results += evaluate_learner(loaded, data, name=f"{loaded.name}, unpractised", learner=untrained)
    for name in BAGS:
        centroid = Prototypical(Bag(name), compare="cosine", scale=10)
        results += evaluate_learner(loaded, data, name=name, learner=centroid)
    comparisons = compare_by_setting(results)
    show_results(results, comparisons)
    command = f"python benchmarks/intents.py --folder CLINC150 --episodes {arguments.episodes}"
    write_results(Path(__file__).parent / "results" / "intents.json", results, comparisons, command=command, raw=True)


def with_bags(data: Data, folder: Path) -> Data:
    """The same data, each item of its test with its bags beside its tokens."""
    parts = split_domains(read_clinc(folder))
    test = data.split("test")
    items = dict(test.x)  # type: ignore[call-overload]
    for name, terms in BAGS.items():
        bags = tfidf_dataset(parts["train"], parts["test"], terms)
        assert test.class_names == bags.class_names and test.y.equal(bags.y)
        items[name] = bags.x
    return replace(data, splits={**data.splits, "test": replace(test, x=items)})


if __name__ == "__main__":
    main()
