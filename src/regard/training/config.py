"""How to train: every setting, with its default written here and nowhere else."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from regard.domains.options import Strict

Precision = Literal["32-true", "bf16-mixed", "auto"]


class TrainConfig(Strict):
    """Settings of `train`. Unknown keys and impossible values are refused, by pydantic.

    Examples:
        >>> TrainConfig(steps=500, learning_rate=3e-4).optimizer
        'adamw'
    """

    steps: int = Field(
        default=2000, ge=1, description="updates of the weights; fitted instead where max_minutes is set"
    )
    max_minutes: float | None = Field(
        default=None,
        gt=0,
        description="fit the number of steps to this much time, after timing the first ones and again in the first "
        "half; kept in the checkpoint, so that a resumed run does the same steps",
    )
    tasks_per_step: int = Field(default=1, ge=1, description="episodes a step, over all processes together")
    tasks_at_once: int | Literal["auto"] = Field(
        default="auto",
        description="tasks whose gradient is computed in one pass; passes are added in order, so that several "
        "processes on a CPU take the steps of one bit for bit; auto is 1 for convolutions on a CPU, else all",
    )
    optimizer: Literal["adamw", "adam", "sgd", "muon"] = Field(
        default="adamw",
        description="sgd has momentum 0.9; muon is for the matrices of transformers, adamw for the rest",
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="highest learning rate, after the warm-up")
    weight_decay: float = Field(
        default=0.01, ge=0, description="of matrices and kernels; norms, biases and scales are left alone"
    )
    schedule: Literal["cosine", "constant", "trapezoid"] = Field(
        default="cosine",
        description="cosine falls to 0 at the last step; trapezoid stays until the last decay_steps, over which it "
        "falls to 0 in a line, so that a run can be made longer, or finished, from where it stands",
    )
    decay_steps: int = Field(default=0, ge=0, description="steps over which a trapezoid falls")
    warmup_steps: int = Field(default=50, ge=0, description="steps over which the learning rate rises from 0")
    grad_clip: float | None = Field(default=None, gt=0, description="largest norm of the gradient; none: not clipped")
    precision: Precision = Field(
        default="32-true",
        description='"bf16-mixed" computes in bfloat16 and keeps weights in float32; "auto" does where that is fast',
    )
    validate_every: int = Field(default=200, ge=1, description="steps from one validation to the next")
    validation_episodes: int = Field(default=200, ge=2, description="episodes a validation asks; always the same ones")
    validation_metric: Literal["auto", "accuracy", "nll"] = Field(
        default="auto",
        description='what decides which checkpoint is best; "auto" is accuracy of classes and nll of numbers, and nll '
        "tells apart what accuracy is too coarse for",
    )
    patience: int = Field(
        default=0, ge=0, description="stop after this many validations without a new best; 0 never stops early"
    )
    log_every: int = Field(default=20, ge=1, description="steps from one row of the logs to the next")
    checkpoint_every: int = Field(default=200, ge=1, description="steps from one checkpoint to the next")
    tensorboard: bool = Field(default=True, description="write TensorBoard events beside metrics.csv")
    accelerator: str = Field(default="auto", description='"cpu", "cuda", "mps" or "auto", as in Lightning Fabric')
    devices: int = Field(default=1, ge=1, description="processes on each machine, one a device")
    nodes: int = Field(
        default=1, ge=1, description="machines; each runs the same command under torchrun, which says who leads"
    )
    strategy: str = Field(default="auto", description='how processes share the work, as in Lightning Fabric: "ddp"')
    seed: int = Field(default=0, description="of what the learner draws in training, such as dropout")

    @field_validator("tasks_at_once")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("expected auto or at least 1")
        return value

    def identity(self) -> dict[str, object]:
        """The settings that decide the weights: a run goes on from a checkpoint only where these are the same."""
        return self.model_dump(exclude=_FREE | ({"steps"} if self.extensible else set()))

    @property
    def extensible(self) -> bool:
        """Whether a shorter run is the beginning of a longer one: the learning rate does not look ahead far."""
        return self.schedule != "cosine" and self.max_minutes is None


_FREE = {"log_every", "checkpoint_every", "tensorboard", "accelerator", "devices", "nodes", "strategy"}
