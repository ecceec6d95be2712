"""Explaining a prediction: which examples mattered, where on them, and whether to believe it."""

from regard.explain.answers import Explanation, Turn, explain
from regard.explain.faithfulness import Faithfulness, faithfulness
from regard.explain.influence import Influence, influence
from regard.explain.saliency import SaliencyMaps, saliency_maps

__all__ = [
    "Explanation",
    "Faithfulness",
    "Influence",
    "SaliencyMaps",
    "Turn",
    "explain",
    "faithfulness",
    "influence",
    "saliency_maps",
]
