"""Episodes, samplers and learners from and to code written for learn2learn, torchmeta and easyfsl.

By the shape of what they exchange: none of the three is imported. Their tasks hold no weights, no padding and no names;
what they cannot hold is refused with a remedy.
"""

from regard.interop.episodes import (
    from_easyfsl,
    from_learn2learn,
    from_torchmeta,
    to_easyfsl,
    to_learn2learn,
    to_torchmeta,
)
from regard.interop.methods import (
    EasyfslClassifier,
    ForeignLearner,
    learner_from_easyfsl,
    learner_from_learn2learn,
    learner_from_torchmeta,
)
from regard.interop.tasks import EasyfslTasks, Learn2LearnTasks, TorchmetaBatches

__all__ = [
    "EasyfslClassifier",
    "EasyfslTasks",
    "ForeignLearner",
    "Learn2LearnTasks",
    "TorchmetaBatches",
    "from_easyfsl",
    "from_learn2learn",
    "from_torchmeta",
    "learner_from_easyfsl",
    "learner_from_learn2learn",
    "learner_from_torchmeta",
    "to_easyfsl",
    "to_learn2learn",
    "to_torchmeta",
]
