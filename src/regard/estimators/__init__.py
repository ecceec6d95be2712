"""Trained learners with the manners of scikit-learn: `fit` adapts to a few labelled examples, in milliseconds.

    model = FewShotClassifier("tables")                 # a name, the path of a checkpoint, or a trained learner
    model.fit(examples, ["cat", "dog", ...])            # 5 examples of each class are enough to begin
    model.predict(queries)                              # array(["dog", ...])
    model.predict_proba(queries)                        # (N, n_classes), in the order of model.classes_
    model.attention(queries)                            # (N, n_examples), where the learner attends
    FewShotTranslator("translation").fit(sources, targets).predict(sentences)
    FewShotPolicy("runs/reacher").fit(demonstrations).act(observation)
    save_estimator(model, "model.safetensors"); load_estimator("model.safetensors")

Nothing is trained here, and the learner is not changed: many estimators may share one.
"""

from __future__ import annotations

from regard.estimators.classifier import FewShotClassifier
from regard.estimators.files import load_estimator, save_estimator
from regard.estimators.next_experiment import Suggestion, expected_improvement, next_experiment
from regard.estimators.policy import FewShotPolicy
from regard.estimators.regressor import FewShotRegressor
from regard.estimators.translator import FewShotTranslator
from regard.recipes.locations import shipped_models

__all__ = [
    "FewShotClassifier",
    "FewShotPolicy",
    "FewShotRegressor",
    "FewShotTranslator",
    "Suggestion",
    "expected_improvement",
    "load_estimator",
    "next_experiment",
    "save_estimator",
    "shipped_models",
]
