"""Prototypical networks (Snell et al. 2017, arXiv:1703.05175) as a Keras model; see `regard.learners.prototypical`.

c_k = sum_s membership_sk f(x_s) / sum_s membership_sk        logit_k(x) = -|f(x) - c_k|^2
"""

from __future__ import annotations

from typing import Any

from regard.extras import import_extra
from regard.keras.attention import check_choices, compare_all
from regard.keras.base import EncodedRows, EpisodeModel

keras = import_extra("keras", "keras")
ops = keras.ops


@keras.saving.register_keras_serializable("regard")
class PrototypicalModel(EpisodeModel):
    """Nearest class mean in a learned space.

    Args:
        encoder: items to vectors, see `EpisodeModel`.
        compare: "distance", "cosine" or "dot".
        scale: logits are multiplied by it.
        options: of `keras.Model`.
    """

    def __init__(self, encoder: Any, *, compare: str = "distance", scale: float = 1.0, **options: Any) -> None:
        super().__init__(encoder, **options)
        check_choices(compare)
        self.compare, self.scale = compare, scale

    def class_logits(self, rows: EncodedRows, member: Any, asked: EncodedRows) -> Any:
        mass = ops.expand_dims(ops.sum(member, axis=1), -1)
        centre = ops.matmul(ops.swapaxes(member, 1, 2), rows.z) / ops.where(mass > 0, mass, ops.ones_like(mass))
        return self.scale * compare_all(asked.z, centre, self.compare)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "compare": self.compare, "scale": self.scale}
