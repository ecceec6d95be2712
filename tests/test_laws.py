"""Every learner keeps the laws it claims to keep; and a learner that breaks one is caught by that law's name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from encoders import Bent, Parts, Vectors
from regard.episode import Episode, Items, Support
from regard.errors import LawError
from regard.learners import LEARNERS
from regard.learners.anil import ANIL
from regard.learners.anp import AttentiveNeuralProcess
from regard.learners.assay_prototypes import AssayPrototypes
from regard.learners.base import EncodingLearner, Learner, hide_absent
from regard.learners.cnaps import CNAPs
from regard.learners.cnp import CNP
from regard.learners.cross_transformer import CrossTransformer
from regard.learners.deep_kernel import DeepKernel
from regard.learners.egnn import EGNN
from regard.learners.extra_trees import ExtraTrees
from regard.learners.fast_weights import FastWeights
from regard.learners.feat import FEAT
from regard.learners.few_shot_gnn import FewShotGNN
from regard.learners.inner.loop import GradientLearner
from regard.learners.inner.rule import GradientDescent
from regard.learners.inner.tasks import Tensors
from regard.learners.iter_ref_lstm import IterRefLSTM
from regard.learners.kernel_forest import KernelForest
from regard.learners.kernel_mixture import KernelMixture
from regard.learners.learned_optimizer import LearnedOptimizer
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
from regard.learners.prototypical import Prototypes, Prototypical, class_means
from regard.learners.r2d2 import R2D2
from regard.learners.relation import Relation
from regard.learners.reptile import Reptile
from regard.learners.ridge_prototypes import RidgePrototypes
from regard.learners.row_attention import RowAttentionLearner
from regard.learners.siamese import Siamese
from regard.learners.simple_shot import SimpleShot
from regard.learners.snail import SNAIL
from regard.learners.table_transformer import TableTransformer, Targets
from regard.learners.tanimoto_kernel import TanimotoKernel
from regard.learners.tnp import TNPD
from regard.learners.tpn import TPN
from regard.learners.triplet import Triplet
from regard.learners.versa import VERSA
from regard.learners.weight_generator import WeightGenerator
from regard.nn.attention import scores
from regard.nn.conv4 import Conv4
from regard.nn.norm import Norm
from regard.nn.transforms import inside_transform
from regard.testing import LAWS, Law, check_learner, random_episode


class NamedParts(Parts):
    """Parts whose first two features are not trained, and whose length says how much they count."""

    n_fixed_features = 2

    def __init__(self) -> None:
        super().__init__()
        self.n_features = 7

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        return torch.cat([x[..., :2], super().forward(x)], -1)

    def part_weight(self, z: Tensor) -> Tensor | None:
        return z[..., :2].norm(dim=-1)


def attention_meta(encoder: type[Parts] = Parts) -> Learner:
    from regard.learners.attention_meta import AttentionMetaLearner

    return AttentionMetaLearner(encoder(), d_pair=7)


def outputs(n_outputs: int = 3) -> nn.Module:
    """A model for gradient learners: as many outputs as the episodes have classes, or more."""
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, n_outputs))


def table_transformer(targets: Targets = "classes") -> Learner:
    return TableTransformer(targets=targets, d_cell=8, n_table_layers=2, d_row=12, n_row_layers=1, n_row_heads=2)


class Counted(Vectors):
    """Vectors as of molecules: counts first, then answers of two files, then of what kind the item is."""

    n_fixed_features = 2
    blocks: ClassVar = {"counts": (0, 2), "file 0": (2, 4), "file 1": (4, 7), "kind": (7, 9)}

    def __init__(self) -> None:
        super().__init__(n_features=7)
        self.n_features = 9

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        return torch.cat([(3 * x[..., :2].detach()).clamp_min(0).round(), super().forward(x)], -1)


class Familiar(Counted):
    """One number says how familiar the item is, and the last is a descriptor."""

    blocks: ClassVar = {
        "counts": (0, 2),
        "file 0": (2, 4),
        "file 1": (4, 6),
        "kind": (6, 7),
        "familiarity": (7, 8),
        "descriptors": (8, 9),
    }


def mhnfs(n_context: int = 6) -> Learner:
    learner = MHNfs(Vectors(), d_model=8, n_heads=2, n_context=n_context)
    if n_context:
        learner.remember(torch.linspace(-1, 1, 6 * n_context).view(n_context, 6))
    return learner


VECTORS, PARTS = (6,), (4, 6)
FAST: dict[str, Any] = {"n_heads": 2, "d_key": 4, "d_value": 4, "d_model": 8}

# (name, make, item shape, tolerance)
CASES: list[tuple[str, Callable[[], Learner], tuple[int, ...], float]] = [
    ("Prototypical", lambda: Prototypical(Vectors()), VECTORS, 1e-10),
    ("Prototypical-cosine", lambda: Prototypical(Vectors(), compare="cosine", scale=10.0), VECTORS, 1e-10),
    ("SimpleShot", lambda: SimpleShot(Vectors(), 3), VECTORS, 1e-10),
    ("SimpleShot-plain", lambda: SimpleShot(Vectors(), 3, normalise=False), VECTORS, 1e-10),
    ("Siamese", lambda: Siamese(Vectors()), VECTORS, 1e-10),
    ("Triplet", lambda: Triplet(Vectors()), VECTORS, 1e-10),
    ("Triplet-all", lambda: Triplet(Vectors(), mining="all"), VECTORS, 1e-10),
    ("Matching", lambda: Matching(Vectors()), VECTORS, 1e-10),
    ("Matching-sparsemax", lambda: Matching(Vectors(), how="sparsemax", scale=2.0), VECTORS, 1e-10),
    ("Matching-entmax", lambda: Matching(Vectors(), how="entmax", scale=2.0), VECTORS, 1e-10),
    ("Matching-context", lambda: Matching(Vectors(), n_reads=3), VECTORS, 1e-10),
    ("Relation", lambda: Relation(Vectors(), width=8), VECTORS, 1e-10),
    ("Relation-maps", lambda: Relation(Parts(), width=8), PARTS, 1e-10),
    ("FEAT", lambda: FEAT(Vectors()), VECTORS, 1e-10),
    ("FEAT-heads", lambda: FEAT(Vectors(n_features=6), n_heads=2, contrast=0.0), VECTORS, 1e-10),
    ("CrossTransformer", lambda: CrossTransformer(Parts(), d_head=4), PARTS, 1e-10),
    ("AttentionMetaLearner", attention_meta, PARTS, 1e-10),
    ("AttentionMetaLearner-names", lambda: attention_meta(NamedParts), PARTS, 1e-10),
    ("NearestNeighbour", lambda: NearestNeighbour(), VECTORS, 1e-10),
    ("NearestNeighbour-3-cosine", lambda: NearestNeighbour(n_neighbours=3, compare="cosine"), VECTORS, 1e-10),
    ("NearestNeighbour-soft", lambda: NearestNeighbour(how="soft"), VECTORS, 1e-10),
    ("MAML", lambda: MAML(outputs(), inner_lr=0.3, inner_steps=2), VECTORS, 1e-10),
    ("MAML-first", lambda: MAML(outputs(), first_order=True, rates="parameter", execution="loop"), VECTORS, 1e-10),
    ("MetaSGD", lambda: MetaSGD(outputs(), inner_steps=2), VECTORS, 1e-10),
    ("Reptile", lambda: Reptile(outputs(), inner_lr=0.1, inner_steps=2, test_steps=3), VECTORS, 1e-10),
    ("ANIL", lambda: ANIL(Vectors(), 3, inner_steps=2), VECTORS, 1e-10),
    ("ProtoMAML", lambda: ProtoMAML(Vectors(), inner_lr=0.1, inner_steps=2), VECTORS, 1e-10),
    ("LinearProbe", lambda: LinearProbe(Vectors(), n_steps=5, n_solve=20), VECTORS, 1e-10),
    ("LinearProbe-bare", lambda: LinearProbe(n_steps=5, n_solve=20), VECTORS, 1e-10),
    ("TableTransformer", table_transformer, VECTORS, 1e-10),
    ("R2D2", lambda: R2D2(Vectors()), VECTORS, 1e-10),
    ("RidgePrototypes", lambda: RidgePrototypes(Vectors()), VECTORS, 1e-10),
    ("RidgePrototypes-wide", lambda: RidgePrototypes(Vectors(n_features=30), penalty=0.1), VECTORS, 1e-10),
    ("R2D2-wide", lambda: R2D2(Vectors(n_features=30), penalty=0.1), VECTORS, 1e-10),
    ("MetaOptNet", lambda: MetaOptNet(Vectors()), VECTORS, 1e-8),
    ("MetaOptNet-wide", lambda: MetaOptNet(Vectors(n_features=30), cost=3.0), VECTORS, 1e-5),
    ("MetaOptNet-logistic", lambda: MetaOptNet(Vectors(), head="logistic"), VECTORS, 1e-10),
    ("WeightGenerator", lambda: WeightGenerator(Vectors(), n_base=4), VECTORS, 1e-10),
    ("LSTMMetaLearner", lambda: LSTMMetaLearner(outputs(), width=3, inner_steps=2), VECTORS, 1e-10),
    (
        "LSTMMetaLearner-second",
        lambda: LSTMMetaLearner(outputs(), width=3, inner_steps=2, first_order=False),
        VECTORS,
        1e-10,
    ),
    ("LearnedOptimizer", lambda: LearnedOptimizer(outputs(), inner_steps=2), VECTORS, 1e-10),
    ("LearnedOptimizer-second", lambda: LearnedOptimizer(outputs(), inner_steps=2, first_order=False), VECTORS, 1e-10),
    ("CNAPs", lambda: CNAPs(Bent(), width=8), VECTORS, 1e-10),
    ("CNAPs-sets", lambda: CNAPs(Bent(), set_encoder=Vectors(), width=8), VECTORS, 1e-10),
    ("VERSA", lambda: VERSA(Vectors(), width=8), VECTORS, 1e-10),
    (
        "SNAIL",
        lambda: SNAIL(Vectors(), n_filters=3, n_dilations=2, widths=((3, 2), (4, 3))),
        VECTORS,
        1e-10,
    ),
    ("MANN", lambda: MANN(Vectors(), n_slots=6, d_slot=4, d_hidden=8), VECTORS, 1e-10),
    ("FastWeights", lambda: FastWeights(Vectors(), **FAST), VECTORS, 1e-10),
    ("FastWeights-hebbian", lambda: FastWeights(Vectors(), rule="hebbian", **FAST), VECTORS, 1e-10),
    ("CNP", lambda: CNP(Vectors(), d_model=8), VECTORS, 1e-10),
    ("AttentiveNeuralProcess", lambda: AttentiveNeuralProcess(Vectors(), d_model=8, n_heads=2), VECTORS, 1e-10),
    (
        "AttentiveNeuralProcess-rotary",
        lambda: AttentiveNeuralProcess(Vectors(), d_model=8, n_heads=2, places="rotary"),
        VECTORS,
        1e-10,
    ),
    ("TNPD", lambda: TNPD(Vectors(), d_model=8, n_layers=2, n_heads=2, d_feed=8, n_embed=2), VECTORS, 1e-10),
    (
        "TNPD-rotary",
        lambda: TNPD(Vectors(), d_model=8, n_layers=2, n_heads=2, d_feed=8, places="rotary"),
        VECTORS,
        1e-10,
    ),
    ("TNPD-bare", lambda: TNPD(n_inputs=6, d_model=4, n_layers=1, n_heads=1, d_feed=4), VECTORS, 1e-10),
    ("TNPD-parts", lambda: TNPD(Parts(), d_model=8, n_layers=2, n_heads=2, d_feed=8), PARTS, 1e-10),
    ("TNPD-hard", lambda: TNPD(Vectors(), d_model=8, n_layers=2, n_heads=2, d_feed=8, how="hard"), VECTORS, 1e-10),
    ("DeepKernel", lambda: DeepKernel(Vectors()), VECTORS, 1e-10),
    ("DeepKernel-matern", lambda: DeepKernel(Vectors(), kernel="matern"), VECTORS, 1e-10),
    ("IterRefLSTM", lambda: IterRefLSTM(Vectors()), VECTORS, 1e-10),
    ("PAR", lambda: PAR(Vectors(), d_model=6), VECTORS, 1e-10),
    ("MHNfs", mhnfs, VECTORS, 1e-10),
    ("MHNfs-bare", lambda: mhnfs(0), VECTORS, 1e-10),
    ("TanimotoKernel", lambda: TanimotoKernel(Counted()), VECTORS, 1e-10),
    ("AssayPrototypes", lambda: AssayPrototypes(Familiar()), VECTORS, 1e-10),
    ("AssayPrototypes-bare", lambda: AssayPrototypes(Counted()), VECTORS, 1e-10),
    ("AssayPrototypes-plain", lambda: AssayPrototypes(Vectors()), VECTORS, 1e-10),
    (
        "KernelMixture",
        lambda: KernelMixture(Vectors(), blocks=(2, 3), lengths=(1.0,), noises=(0.1,)),
        VECTORS,
        1e-10,
    ),
    ("ExtraTrees", lambda: ExtraTrees(n_trees=2), VECTORS, 1e-10),
    (
        "KernelForest",
        lambda: KernelForest(Vectors(), blocks=(2, 3), on_blocks=(1,), lengths=(1.0,), noises=(0.1,), n_trees=1),
        VECTORS,
        1e-10,
    ),
    ("FewShotGNN", lambda: FewShotGNN(Vectors(), n_layers=1, n_new=4, width=6), VECTORS, 1e-10),
    ("EGNN", lambda: EGNN(Vectors(), n_layers=2, width=6), VECTORS, 1e-10),
    ("TPN", lambda: TPN(Vectors(), width=6), VECTORS, 1e-10),
    ("TPN-all", lambda: TPN(Vectors(), graph="all", width=6), VECTORS, 1e-10),
    ("DeepKernel-cosine", lambda: DeepKernel(Vectors(), kernel="cosine"), VECTORS, 1e-10),
]


SLOW = {
    "separable_tasks_are_solved",
    "threads_agree",
    "training_mode_keeps_the_laws",
    "absent_queries_are_not_scored",
    "joined_states_answer_alike",
}
"""Laws that take most of the time: each learner is held to them in its first settings, and not in its others."""


def laws_for(name: str) -> list[Law]:
    """All laws, or for further settings of a learner, named Learner-setting, those that are quick."""
    return [law for law in LAWS if "-" not in name or law.__name__ not in SLOW]


CLASSIFYING = [c for c in CASES if any(row.classifies and row.name == c[0].split("-")[0] for row in LEARNERS)]


@pytest.mark.parametrize(("make", "item", "tolerance"), [c[1:] for c in CLASSIFYING], ids=[c[0] for c in CLASSIFYING])
def test_laws_with_classes(
    make: Callable[[], Learner], item: tuple[int, ...], tolerance: float, request: pytest.FixtureRequest
) -> None:
    laws = laws_for(request.node.callspec.id)
    check_learner(make, lambda seed: random_episode(seed, item), laws=laws, tolerance=tolerance)


REGRESSING = [c for c in CASES if any(row.regresses and row.name == c[0].split("-")[0] for row in LEARNERS)]


@pytest.mark.parametrize(("make", "item", "tolerance"), [c[1:] for c in REGRESSING], ids=[c[0] for c in REGRESSING])
def test_laws_with_targets(
    make: Callable[[], Learner], item: tuple[int, ...], tolerance: float, request: pytest.FixtureRequest
) -> None:
    if make is table_transformer:  # made for classes or for numbers
        check_learner(lambda: table_transformer("numbers"), lambda seed: random_episode(seed, item, n_targets=3))
        return
    laws = laws_for(request.node.callspec.id)
    check_learner(make, lambda seed: random_episode(seed, item, n_targets=3), laws=laws, tolerance=tolerance)


JOINT: dict[str, Callable[[], Learner]] = {
    "TNPD": lambda: TNPD(Vectors(), d_model=8, n_layers=2, n_heads=2, d_feed=8, n_targets=3),
    "TNPD-entmax": lambda: TNPD(Vectors(), d_model=8, n_layers=2, n_heads=2, d_feed=8, n_targets=3, how="entmax"),
    "ANP": lambda: AttentiveNeuralProcess(Vectors(), d_model=8, n_heads=2, n_targets=3),
    "CNP": lambda: CNP(Vectors(), d_model=8, n_targets=3),
    "SNAIL": lambda: SNAIL(Vectors(), n_filters=3, n_dilations=2, widths=((3, 2), (4, 3)), n_targets=3),
    "MANN": lambda: MANN(Vectors(), n_slots=6, d_slot=4, d_hidden=8, n_targets=3),
    "FastWeights": lambda: FastWeights(Vectors(), n_targets=3, **FAST),
}


@pytest.mark.parametrize("name", JOINT)
def test_laws_with_joint_targets(name: str) -> None:
    laws = laws_for(f"{name}-joint")
    check_learner(JOINT[name], lambda seed: random_episode(seed, VECTORS, n_targets=3), laws=laws)


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_a_convolution_keeps_the_laws(norm: Norm) -> None:
    def make() -> Learner:
        return Prototypical(Conv4(1, 4, image_size=8, n_halvings=2, norm=norm))

    check_learner(make, lambda seed: random_episode(seed, (8, 8)))


def test_one_shot_and_many_ways() -> None:
    check_learner(lambda: Matching(Vectors()), lambda seed: random_episode(seed, n_way=6, n_shot=1, n_query=7))


def test_every_learner_of_the_table_is_held_to_the_laws() -> None:
    # Learners of sequences keep these laws in tests/learners/test_lexicon_translator.py.
    assert {row.name for row in LEARNERS if not row.translates} == {name.split("-")[0] for name, *_ in CASES}


# ---- planted faults --------------------------------------------------------------------------------------------------


class _Faulty(EncodingLearner):
    """Prototypical, to be broken by subclasses, each in one way."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Vectors()

    def adapt_encoded(self, support: Support) -> Prototypes:
        return class_means(support.x, support)  # type: ignore[arg-type]

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return hide_absent(scores(query_z, state.centre, "distance"), state.mass)


class Peeks(_Faulty):
    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return super().predict_encoded(state, query_z - query_z.mean(1, keepdim=True))


class IgnoresWeight(_Faulty):
    def adapt_encoded(self, support: Support) -> Prototypes:
        return super().adapt_encoded(replace(support, weight=torch.ones_like(support.weight)))


class MasksByWeight(_Faulty):
    """Right about 0, but 2 is not twice, and the answer has no slope in the weight."""

    def adapt_encoded(self, support: Support) -> Prototypes:
        return super().adapt_encoded(replace(support, weight=(support.weight > 0).to(support.weight)))


class KeepsState(_Faulty):
    def adapt_encoded(self, support: Support) -> Prototypes:
        self.last = super().adapt_encoded(support)
        return self.last


class Remembers(_Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Support] = []

    def adapt_encoded(self, support: Support) -> Prototypes:
        self.seen.append(support)
        return super().adapt_encoded(support)


class Drifts(_Faulty):
    def adapt_encoded(self, support: Support) -> Prototypes:
        with torch.no_grad():
            self.encoder.linear.bias.add_(1e-3)
        return super().adapt_encoded(support)


class PrefersTheFirstClass(_Faulty):
    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        logits = super().predict_encoded(state, query_z)
        return logits - 0.1 * torch.arange(logits.shape[-1])


class ReadsInOrder(_Faulty):
    def adapt_encoded(self, support: Support) -> Prototypes:
        place = torch.linspace(1, 2, support.n_rows)
        return super().adapt_encoded(replace(support, x=support.x * place[:, None]))  # type: ignore[operator]


class MixesTasks(_Faulty):
    def adapt_encoded(self, support: Support) -> Prototypes:
        state = super().adapt_encoded(support)
        return replace(state, centre=state.centre - state.centre.mean(0))


class HasAnIdlePart(_Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(2, 2)


class DividesByNothing(_Faulty):
    def adapt_encoded(self, support: Support) -> Prototypes:
        membership = support.membership()
        return Prototypes(membership.mT @ support.x / membership.sum(1)[..., None], membership.sum(1))  # type: ignore[operator]


class LostWithoutExamples(_Faulty):
    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        logits = scores(query_z, state.centre, "distance")
        return logits.masked_fill((state.mass == 0)[:, None], -torch.inf)


class NotSaved(_Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.rand(())

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return self.scale * super().predict_encoded(state, query_z)


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.square()

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor], output: Tensor) -> None:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        return 2 * grad.detach() * ctx.saved_tensors[0].detach()


class WrongSecondDerivative(_Faulty):
    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return super().predict_encoded(state, _Once.apply(query_z))


class Unvmappable(_Faulty):
    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return super().predict_encoded(state, query_z) * (2.0 if float(query_z.sum()) > -1e9 else 1.0)


class DependsOnTheExecution(GradientLearner):
    """Says something else under vmap."""

    def __init__(self) -> None:
        super().__init__(outputs(), inner_steps=1)
        self.rule = GradientDescent(0.1)

    def outputs(self, tensors: Tensors, x: object) -> Tensor:
        return super().outputs(tensors, x) * (1.001 if inside_transform() else 1.0)


class LeavesCopiesBehind(_Faulty):
    """Puts other parameters in the place of its own, and forgets to put these back when it fails."""

    def loss(self, episode: Episode) -> Tensor:
        first = next(module for module in self.modules() if module._parameters)
        name, own = next((name, p) for name, p in first._parameters.items() if p is not None)
        first._parameters[name] = nn.Parameter(own.detach().clone())
        loss = super().loss(episode)
        first._parameters[name] = own
        return loss


class EncodesTheEpisode(_Faulty):
    """Adds in `forward` what the encoded path does not know."""

    def forward(self, episode: Episode) -> Tensor:
        return super().forward(episode) * 1.001  # type: ignore[operator]


class TakesAnything(_Faulty):
    def _require(self, support: Support) -> None:
        pass


class Blurs(RowAttentionLearner):
    """Its attention is not what it predicts by, and rests on padding."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Vectors()

    def score(self, state: Support, query_z: Tensor) -> Tensor:
        return scores(query_z, state.x, "distance")  # type: ignore[arg-type]

    def attend_encoded(self, state: Support, query_z: Tensor) -> Tensor:
        return torch.softmax(self.score(state, query_z), -1)


class ForgetsTheAbsent(_Faulty):
    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return scores(query_z, state.centre, "distance")


class AveragesTheLoss(_Faulty):
    def loss(self, episode: Episode) -> Tensor:
        return super().loss(episode).mean()


FAULTS: list[tuple[Callable[[], Learner], set[str]]] = [
    (ForgetsTheAbsent, {"answers_have_the_right_shape"}),
    (AveragesTheLoss, {"answers_have_the_right_shape"}),
    (Peeks, {"queries_do_not_see_each_other"}),
    (IgnoresWeight, {"weight_zero_is_absence", "weight_two_is_twice", "the_weight_gradient_is_finite"}),
    (MasksByWeight, {"weight_two_is_twice", "the_weight_gradient_is_finite"}),
    (KeepsState, {"adapting_leaves_no_trace"}),
    (Remembers, {"adapting_leaves_no_trace"}),
    (Drifts, {"adapting_leaves_no_trace"}),
    (PrefersTheFirstClass, {"relabelling_relabels"}),
    (ReadsInOrder, {"support_order_does_not_matter"}),
    (MixesTasks, {"a_batch_is_a_loop", "joined_states_answer_alike"}),
    (HasAnIdlePart, {"a_gradient_reaches_every_parameter"}),
    (DividesByNothing, {"the_weight_gradient_is_finite", "a_gradient_reaches_every_parameter"}),
    (LostWithoutExamples, {"an_empty_support_is_survived"}),
    (NotSaved, {"saved_is_loaded"}),
    (WrongSecondDerivative, {"second_derivatives_are_right"}),
    (Unvmappable, {"vmap_is_a_loop"}),
    (DependsOnTheExecution, {"executions_agree"}),
    (LeavesCopiesBehind, {"the_model_is_left_whole"}),
    (EncodesTheEpisode, {"forward_is_adapt_then_predict", "encoded_is_fresh"}),
    (TakesAnything, {"the_wrong_targets_are_refused"}),
    (Blurs, {"attention_is_a_distribution"}),
]


@pytest.mark.parametrize(("make", "names"), FAULTS, ids=[make.__name__ for make, _ in FAULTS])  # type: ignore[attr-defined]
def test_a_planted_fault_is_caught_by_name(make: Callable[[], Learner], names: set[str]) -> None:
    with pytest.raises(LawError) as caught:
        check_learner(make, random_episode, laws=[law for law in LAWS if law.__name__ in names])
    named = set(re.findall(r"^  (\w+):", str(caught.value), re.MULTILINE))
    assert names <= named, str(caught.value)


def test_the_learner_that_faults_are_planted_in_keeps_them_all() -> None:
    check_learner(_Faulty, random_episode)


def test_every_law_has_a_planted_fault() -> None:
    caught = set().union(*(names for _, names in FAULTS))
    # Those of `regard.testing.use` have theirs in tests/testing/test_planted.py.
    assert {law.__name__ for law in LAWS if law.__module__ != "regard.testing.use"} == caught
