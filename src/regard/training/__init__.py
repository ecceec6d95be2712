"""Training: the loop, its settings, and checkpoints that can be trusted."""

from __future__ import annotations

from regard.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from regard.training.config import TrainConfig
from regard.training.loop import TrainResult, train
from regard.training.precision import fast_bf16
from regard.training.progress import Bar, LogLines, Progress, Report, Silent

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
