"""Explaining a prediction: which examples mattered, where on them, and whether to believe it."""

from regard.explain.answers import Counterfactual, Explanation, explain
from regard.explain.demonstrations import AttendedRollout, attended_rollout, success_without
from regard.explain.faithfulness import Faithfulness, faithfulness
from regard.explain.influence import Influence, influence
from regard.explain.saliency import SaliencyMaps, saliency_maps

__all__ = [
    "AttendedRollout",
    "Counterfactual",
    "Explanation",
    "Faithfulness",
    "Influence",
    "SaliencyMaps",
    "attended_rollout",
    "explain",
    "faithfulness",
    "influence",
    "saliency_maps",
    "success_without",
]
