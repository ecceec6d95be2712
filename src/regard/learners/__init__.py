"""Methods that learn from a support set, one a file, and the table of them.

The table is data, and a learner is imported when it is asked for, so listing and citing need no PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from regard.errors import ConfigError, did_you_mean
from regard.learners.references import REFERENCES, Reference, find_reference

if TYPE_CHECKING:
    from regard.learners.anil import ANIL
    from regard.learners.anp import AttentiveNeuralProcess
    from regard.learners.assay_prototypes import AssayPrototypes
    from regard.learners.attention_meta import AttentionMetaLearner
    from regard.learners.base import AttendingLearner, EncodingLearner, Learner, TokenAttendingLearner
    from regard.learners.cnaps import CNAPs
    from regard.learners.cnp import CNP
    from regard.learners.cross_transformer import CrossTransformer
    from regard.learners.deep_kernel import DeepKernel
    from regard.learners.egnn import EGNN
    from regard.learners.extra_trees import ExtraTrees
    from regard.learners.fast_weights import FastWeights
    from regard.learners.feat import FEAT
    from regard.learners.few_shot_gnn import FewShotGNN
    from regard.learners.fine_tuned import FineTuned
    from regard.learners.inner.loop import GradientLearner
    from regard.learners.iter_ref_lstm import IterRefLSTM
    from regard.learners.kernel_forest import KernelForest
    from regard.learners.kernel_mixture import KernelMixture
    from regard.learners.learned_optimizer import LearnedOptimizer
    from regard.learners.lexicon_translator import LexiconTranslator
    from regard.learners.linear_probe import LinearProbe
    from regard.learners.lstm_meta_learner import LSTMMetaLearner
    from regard.learners.maml import MAML
    from regard.learners.mann import MANN
    from regard.learners.matching import Matching
    from regard.learners.meta_sgd import MetaSGD
    from regard.learners.metaoptnet import MetaOptNet
    from regard.learners.mhnfs import MHNfs
    from regard.learners.nearest_neighbour import NearestNeighbour
    from regard.learners.par import PAR
    from regard.learners.proto_maml import ProtoMAML
    from regard.learners.prototypical import Prototypical
    from regard.learners.r2d2 import R2D2
    from regard.learners.relation import Relation
    from regard.learners.reptile import Reptile
    from regard.learners.ridge_prototypes import RidgePrototypes
    from regard.learners.siamese import Siamese
    from regard.learners.simple_shot import SimpleShot
    from regard.learners.snail import SNAIL
    from regard.learners.table_transformer import TableTransformer
    from regard.learners.tanimoto_kernel import TanimotoKernel
    from regard.learners.tnp import TNPD
    from regard.learners.tpn import TPN
    from regard.learners.triplet import Triplet
    from regard.learners.versa import VERSA
    from regard.learners.weight_generator import WeightGenerator

__all__ = [
    "ANIL",
    "CNP",
    "EGNN",
    "FEAT",
    "LEARNERS",
    "MAML",
    "MANN",
    "PAR",
    "R2D2",
    "REFERENCES",
    "SNAIL",
    "TNPD",
    "TPN",
    "VERSA",
    "AssayPrototypes",
    "AttendingLearner",
    "AttentionMetaLearner",
    "AttentiveNeuralProcess",
    "CNAPs",
    "CrossTransformer",
    "DeepKernel",
    "EncodingLearner",
    "ExtraTrees",
    "FastWeights",
    "FewShotGNN",
    "FineTuned",
    "GradientLearner",
    "IterRefLSTM",
    "KernelForest",
    "KernelMixture",
    "LSTMMetaLearner",
    "LearnedOptimizer",
    "Learner",
    "LearnerRow",
    "LexiconTranslator",
    "LinearProbe",
    "MHNfs",
    "Matching",
    "MetaOptNet",
    "MetaSGD",
    "NearestNeighbour",
    "ProtoMAML",
    "Prototypical",
    "Reference",
    "Relation",
    "Reptile",
    "RidgePrototypes",
    "Siamese",
    "SimpleShot",
    "TableTransformer",
    "TanimotoKernel",
    "TokenAttendingLearner",
    "Triplet",
    "WeightGenerator",
    "find_learner",
    "find_reference",
]


@dataclass(frozen=True)
class LearnerRow:
    """What is known of a learner without importing it.

    Args:
        name: of the class.
        module: where it stands.
        family: some of metric, attention, gradient, memory, in-context, closed-form, amortised, graph,
            baseline.
        year: of the paper.
        references: keys of `REFERENCES`, the method's own paper first.
        classifies, regresses, translates: which targets it takes.
        attends: it can say how much each support row counted.
    """

    name: str
    module: str
    family: tuple[str, ...]
    year: int
    references: tuple[str, ...]
    classifies: bool = True
    regresses: bool = False
    attends: bool = False
    translates: bool = False

    def load(self) -> type[Learner]:
        """Import the class."""
        return getattr(import_module(f"regard.learners.{self.module}"), self.name)


LEARNERS: tuple[LearnerRow, ...] = (
    LearnerRow(
        "NearestNeighbour", "nearest_neighbour", ("baseline",), 1967, ("cover1967",), regresses=True, attends=True
    ),
    LearnerRow("LinearProbe", "linear_probe", ("baseline", "closed-form"), 2020, ("tian2020",), regresses=True),
    LearnerRow("SimpleShot", "simple_shot", ("baseline", "metric"), 2019, ("wang2019",)),
    LearnerRow("Siamese", "siamese", ("metric",), 2015, ("koch2015",), regresses=True, attends=True),
    LearnerRow("Triplet", "triplet", ("metric",), 2015, ("schroff2015",), regresses=True, attends=True),
    LearnerRow("Matching", "matching", ("metric", "attention"), 2016, ("vinyals2016",), regresses=True, attends=True),
    LearnerRow("Prototypical", "prototypical", ("metric",), 2017, ("snell2017",)),
    LearnerRow("MAML", "maml", ("gradient",), 2017, ("finn2017",), regresses=True),
    LearnerRow("MetaSGD", "meta_sgd", ("gradient",), 2017, ("li2017",), regresses=True),
    LearnerRow("Reptile", "reptile", ("gradient",), 2018, ("nichol2018",), regresses=True),
    LearnerRow("ANIL", "anil", ("gradient",), 2020, ("raghu2020", "finn2017"), regresses=True),
    LearnerRow("ProtoMAML", "proto_maml", ("gradient", "metric"), 2020, ("triantafillou2020", "finn2017", "snell2017")),
    LearnerRow("Relation", "relation", ("metric",), 2018, ("sung2018",)),
    LearnerRow("FEAT", "feat", ("metric", "attention"), 2020, ("ye2020",)),
    LearnerRow("CrossTransformer", "cross_transformer", ("attention",), 2020, ("doersch2020",), attends=True),
    LearnerRow(
        "AttentionMetaLearner",
        "attention_meta",
        ("attention",),
        2016,
        ("vinyals2016", "rocktaschel2016", "parikh2016"),
        regresses=True,
        attends=True,
    ),
    LearnerRow("R2D2", "r2d2", ("closed-form",), 2019, ("bertinetto2019",), regresses=True),
    LearnerRow(
        "RidgePrototypes",
        "ridge_prototypes",
        ("closed-form", "metric"),
        2019,
        ("bertinetto2019", "snell2017"),
        regresses=True,
    ),
    LearnerRow("MetaOptNet", "metaoptnet", ("closed-form",), 2019, ("lee2019", "crammer2001")),
    LearnerRow("SNAIL", "snail", ("attention", "memory"), 2018, ("mishra2018",), regresses=True),
    LearnerRow("MANN", "mann", ("memory",), 2016, ("santoro2016",), regresses=True),
    LearnerRow("FastWeights", "fast_weights", ("memory", "attention"), 2021, ("schlag2021", "ba2016"), regresses=True),
    LearnerRow("CNP", "cnp", ("in-context",), 2018, ("garnelo2018",), regresses=True),
    LearnerRow("AttentiveNeuralProcess", "anp", ("in-context", "attention"), 2019, ("kim2019",), regresses=True),
    LearnerRow("TNPD", "tnp", ("in-context", "attention"), 2022, ("nguyen2022",), regresses=True, attends=True),
    LearnerRow("DeepKernel", "deep_kernel", ("closed-form",), 2020, ("patacchiola2020",), regresses=True),
    LearnerRow(
        "IterRefLSTM", "iter_ref_lstm", ("metric", "attention"), 2017, ("altae2017",), regresses=True, attends=True
    ),
    LearnerRow("PAR", "par", ("graph", "attention"), 2021, ("wang2021par",)),
    LearnerRow("MHNfs", "mhnfs", ("attention", "metric"), 2023, ("schimunek2023", "ramsauer2021")),
    LearnerRow(
        "TanimotoKernel", "tanimoto_kernel", ("closed-form",), 2023, ("chen2023", "ralaivola2005"), regresses=True
    ),
    LearnerRow("AssayPrototypes", "assay_prototypes", ("baseline", "closed-form"), 2021, ("stanley2021", "tian2020")),
    LearnerRow(
        "KernelMixture",
        "kernel_mixture",
        ("closed-form",),
        2006,
        ("rasmussen2006", "patacchiola2020"),
        classifies=False,
        regresses=True,
    ),
    LearnerRow(
        "ExtraTrees",
        "extra_trees",
        ("baseline", "attention"),
        2006,
        ("geurts2006", "agarwal2022"),
        classifies=False,
        regresses=True,
        attends=True,
    ),
    LearnerRow(
        "KernelForest",
        "kernel_forest",
        ("closed-form",),
        2006,
        ("rasmussen2006", "geurts2006", "breiman1996"),
        classifies=False,
        regresses=True,
    ),
    LearnerRow("FewShotGNN", "few_shot_gnn", ("graph",), 2018, ("garcia2018",)),
    LearnerRow("TPN", "tpn", ("graph", "closed-form"), 2019, ("liu2019",)),
    LearnerRow("EGNN", "egnn", ("graph",), 2019, ("kim2019edge",), attends=True),
    LearnerRow("WeightGenerator", "weight_generator", ("attention", "amortised"), 2018, ("gidaris2018",)),
    LearnerRow("VERSA", "versa", ("amortised",), 2019, ("gordon2019",)),
    LearnerRow("CNAPs", "cnaps", ("amortised",), 2019, ("requeima2019", "perez2018")),
    LearnerRow("LSTMMetaLearner", "lstm_meta_learner", ("gradient",), 2017, ("ravi2017",), regresses=True),
    LearnerRow(
        "LearnedOptimizer", "learned_optimizer", ("gradient",), 2016, ("andrychowicz2016", "metz2019"), regresses=True
    ),
    LearnerRow(
        "TableTransformer",
        "table_transformer",
        ("in-context", "attention"),
        2025,
        ("hollmann2025", "qu2025", "muller2022"),
        regresses=True,
    ),
    LearnerRow(
        "LexiconTranslator",
        "lexicon_translator",
        ("in-context", "attention"),
        1993,
        ("brown1993", "see2017", "khandelwal2021", "gu2018"),
        classifies=False,
        attends=True,
        translates=True,
    ),
)
"""Every learner there is: what `regard learners` prints."""

_OTHERS = {
    "AttendingLearner": "base",
    "EncodingLearner": "base",
    "FineTuned": "fine_tuned",
    "GradientLearner": "inner.loop",
    "Learner": "base",
    "TokenAttendingLearner": "base",
}


def find_learner(name: str) -> LearnerRow:
    """The row of this name, upper or lower case.

    Raises:
        ConfigError: there is none.

    Examples:
        >>> find_learner("prototypical").name
        'Prototypical'
    """
    for row in LEARNERS:
        if row.name.lower() == name.lower():
            return row
    raise ConfigError(f"no learner {name!r}: {did_you_mean(name, [row.name for row in LEARNERS])}")


def __getattr__(name: str) -> object:
    for row in LEARNERS:
        if row.name == name:
            return row.load()
    if name in _OTHERS:
        return getattr(import_module(f"regard.learners.{_OTHERS[name]}"), name)
    raise AttributeError(f"module 'regard.learners' has no attribute {name!r}")
