"""Explaining an answer: which examples mattered, where on them, and how far to believe it."""

from regard.explain.faithfulness import Faithfulness, faithfulness
from regard.explain.influence import Influence, influence
from regard.explain.places import Places, places

__all__ = ["Faithfulness", "Influence", "Places", "faithfulness", "influence", "places"]
