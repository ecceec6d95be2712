"""Explaining a prediction: which examples mattered, where on them, and whether to believe it."""

from regard.explain.answers import Counterfactual, Explanation, explain
from regard.explain.demonstrations import AttendedRollout, attended_rollout, success_without
from regard.explain.faithfulness import Faithfulness, faithfulness
from regard.explain.influence import Influence, influence
from regard.explain.saliency import SaliencyMaps, saliency_maps
from regard.explain.translations import TranslationExplanation, explain_translations

__all__ = [
    "AttendedRollout",
    "Counterfactual",
    "Explanation",
    "Faithfulness",
    "Influence",
    "SaliencyMaps",
    "TranslationExplanation",
    "attended_rollout",
    "explain",
    "explain_translations",
    "faithfulness",
    "influence",
    "saliency_maps",
    "success_without",
]
