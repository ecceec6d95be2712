"""Training: the loop, its settings, and checkpoints that can be trusted.

Names are imported when first used, so that settings can be read without PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from regard.lazy import lazy

if TYPE_CHECKING:
    from regard.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from regard.training.config import TrainConfig
    from regard.training.loop import TrainResult, train
    from regard.training.precision import fast_bf16
    from regard.training.progress import Bar, LogLines, Progress, Report, Silent

_HOME = {
    "Bar": ".progress",
    "Checkpoint": ".checkpoint",
    "LogLines": ".progress",
    "Progress": ".progress",
    "Report": ".progress",
    "Silent": ".progress",
    "TrainConfig": ".config",
    "TrainResult": ".loop",
    "fast_bf16": ".precision",
    "load_checkpoint": ".checkpoint",
    "save_checkpoint": ".checkpoint",
    "train": ".loop",
}

__all__ = [
    "Bar",
    "Checkpoint",
    "LogLines",
    "Progress",
    "Report",
    "Silent",
    "TrainConfig",
    "TrainResult",
    "fast_bf16",
    "load_checkpoint",
    "save_checkpoint",
    "train",
]

__getattr__ = lazy(__name__, _HOME)
