"""A new learner that starts with the weights of a trained one."""

from __future__ import annotations

from pathlib import Path

from regard.errors import CheckpointError, ConfigError
from regard.learners.base import Learner
from regard.recipes.components import NETWORKS
from regard.recipes.locations import checkpoint_file
from regard.training.checkpoint import load_checkpoint


def load_matching_weights(learner: Learner, name_or_path: str | Path) -> tuple[str, ...]:
    """Give a new learner what it shares with a trained one; everything else stays as it was initialised.

    The networks, such as the encoder, are taken whole or not at all. Of a learner of the same class so is whatever else
    has the same name and shape; of another it is not, since two methods may call different things a scale.

    Args:
        learner: to start with these weights; changed in place.
        name_or_path: of the trained one, see `checkpoint_file`.

    Returns:
        The names of the tensors that were taken over.

    Raises:
        ConfigError: nothing there, or its networks do not fit.
        CheckpointError: not a checkpoint, or one of another version.
    """
    checkpoint = load_checkpoint(checkpoint_file(name_or_path))
    try:
        made_by = str(checkpoint.spec["learner"]["name"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{checkpoint.path} holds no learner ({error}): expected one of `regard train`."
        ) from error
    own, theirs = learner.state_dict(), checkpoint.tensors("learner")
    networks = set(NETWORKS) & {_network(name) for name in own} & {_network(name) for name in theirs}
    fits = {name for name, tensor in theirs.items() if name in own and own[name].shape == tensor.shape}
    odd = sorted(name for name in {*own, *theirs} if _network(name) in networks and name not in fits)
    if odd or not networks:
        reason = f"{odd[0]!r} is in one only, or of another shape" if odd else "they have no network in common"
        raise ConfigError(
            f"init_from is {str(name_or_path)!r}, a {made_by}, and does not fit this {type(learner).__name__}: "
            f"{reason}; give both the same encoder, see `regard train RECIPE --show`."
        )
    same = made_by == type(learner).__name__
    taken = {name: theirs[name] for name in theirs if name in fits and (same or _network(name) in networks)}
    learner.load_state_dict(taken, strict=False)
    return tuple(taken)


def _network(name: str) -> str:
    return name.split(".")[0]
