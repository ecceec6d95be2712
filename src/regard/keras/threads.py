"""How many threads a backend computes with."""

from __future__ import annotations

from regard.errors import ConfigError
from regard.extras import import_extra


def set_threads(n: int) -> None:
    """Compute with n threads on a CPU.

    TensorFlow takes it before its first operation only; JAX has no such setting, and goes by the processors that the
    process may use.

    Args:
        n: at least 1.

    Raises:
        ConfigError: n below 1, TensorFlow has computed already, or the backend is JAX.
    """
    if n < 1:
        raise ConfigError(f"n is {n}: expected at least 1 thread.")
    backend = import_extra("keras", "keras").backend.backend()
    if backend == "torch":
        import_extra("torch", "keras").set_num_threads(n)
    elif backend == "tensorflow":
        threading = import_extra("tensorflow", "keras").config.threading
        try:
            threading.set_intra_op_parallelism_threads(n)
            threading.set_inter_op_parallelism_threads(n)
        except RuntimeError as error:
            raise ConfigError(
                "TensorFlow has computed already, and its threads stay as they are: call set_threads right after the "
                "imports, before a model is made."
            ) from error
    else:
        raise ConfigError(
            f"the backend {backend!r} cannot be told how many threads to use: start Python under "
            f"`taskset -c 0-{n - 1}` instead, and JAX uses these processors only."
        )
