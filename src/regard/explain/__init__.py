"""Explaining a prediction: which examples mattered, where on them, and whether to believe it."""

from regard.explain.answers import Counterfactual, Explanation, explain
from regard.explain.faithfulness import Faithfulness, faithfulness
from regard.explain.influence import Influence, influence
from regard.explain.saliency import SaliencyMaps, saliency_maps

__all__ = [
    "Counterfactual",
    "Explanation",
    "Faithfulness",
    "Influence",
    "SaliencyMaps",
    "explain",
    "faithfulness",
    "influence",
    "saliency_maps",
]
