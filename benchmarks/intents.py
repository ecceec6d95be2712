"""The recipe `intents` beside bag-of-words nearest centroid, on the very same episodes of held-out domains.

    python benchmarks/intents.py --folder CLINC150 [--run runs/intents] [--episodes 1000]

The items of the test hold both, the tokens that the recipe's learner reads and the bag of words that the centroid
reads, so both are asked the very same rows. Writes benchmarks/results/intents.json.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

from torch import Tensor

from regard.episode import Items
from regard.evaluation import write_results
from regard.learners import Prototypical
from regard.nn.encoder import Encoder
from regard.recipes.config import Recipe
from regard.recipes.data import Data
from regard.recipes.run import compare_by_setting, evaluate_learner, load, train_recipe
from regard.recipes.show import show_results
from regard.recipes.text.bag_of_words import tfidf_dataset
from regard.recipes.text.data import read_clinc, split_domains


class Bag(Encoder):
    """The bag of words that an item holds beside its tokens."""

    parts = False

    def forward(self, x: Items) -> Tensor:
        return x["bag"]  # type: ignore[call-overload]


def main() -> None:
    """Train where needed, test both, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/intents"))
    parser.add_argument("--episodes", type=int, default=1000)
    arguments = parser.parse_args()
    settings = (f"data.folder={arguments.folder}", f"evaluation_episodes={arguments.episodes}")
    loaded = load(train_recipe(Recipe.read("intents", settings), arguments.run), settings)
    data = with_bags(loaded.data(), arguments.folder)  # type: ignore[arg-type]
    centroid = Prototypical(Bag(), compare="cosine", scale=10)
    results = evaluate_learner(loaded, data, name=loaded.name)
    results += evaluate_learner(loaded, data, name="bag of words, centroid", learner=centroid)
    comparisons = compare_by_setting(results)
    show_results(results, comparisons)
    command = f"python benchmarks/intents.py --folder CLINC150 --episodes {arguments.episodes}"
    write_results(Path(__file__).parent / "results" / "intents.json", results, comparisons, command=command)


def with_bags(data: Data, folder: Path) -> Data:
    """The same data, each item of its test with its bag of words beside its tokens."""
    parts = split_domains(read_clinc(folder))
    test, bags = data.part("test"), tfidf_dataset(parts["train"], parts["test"])
    assert test.class_names == bags.class_names and test.y.equal(bags.y)
    return replace(data, parts={**data.parts, "test": replace(test, x={**test.x, "bag": bags.x})})  # type: ignore[dict-item]


if __name__ == "__main__":
    main()
