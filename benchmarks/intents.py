"""The recipe `intents` beside bag-of-words nearest centroid, on the very same episodes of held-out domains.

    python benchmarks/intents.py --folder CLINC150 [--run runs/intents] [--episodes 1000] [--minutes 5]

Writes benchmarks/results/intents.json.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded

from regard.evaluation import evaluate, write_results
from regard.learners import Prototypical
from regard.nn.flat import Flat
from regard.recipes.config import Recipe
from regard.recipes.run import compare_by_setting, evaluate_learner, load, train_recipe
from regard.recipes.show import show_results
from regard.recipes.text.bag_of_words import tfidf_dataset
from regard.recipes.text.data import read_clinc, split_domains


def main() -> None:
    """Train where needed, test both, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/intents"))
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    settings = (f"data.folder={arguments.folder}", f"evaluation_episodes={arguments.episodes}")
    recipe = Recipe.read("intents", (*settings, f"train.max_minutes={arguments.minutes}"))
    loaded = load(train_recipe(recipe, arguments.run), settings)
    results = evaluate_learner(loaded, loaded.data(), name=loaded.name)
    parts = split_domains(read_clinc(arguments.folder))
    words = tfidf_dataset(parts["train"], parts["test"])
    centroid = Prototypical(Flat(), compare="cosine", scale=10)
    for asked in recipe.evaluation:
        sampler = asked.sampler(words, 0)
        results.append(
            evaluate(centroid, sampler, arguments.episodes, name="bag of words, centroid", data="clinc150/test")
        )
    # The vectors differ, so the digests do; the rows asked are the same by seed, and that is what pairs them.
    from dataclasses import replace

    results = [replace(result, digest="") for result in results]
    comparisons = compare_by_setting(results)
    show_results(results, comparisons)
    write_results(Path(__file__).parent / "results" / "intents.json", results, comparisons)


if __name__ == "__main__":
    main()
