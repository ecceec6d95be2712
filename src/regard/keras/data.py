"""Episodes as what `model.fit` takes: ({support, membership, query}, query labels, query weights) in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import ConfigError, EpisodeError
from regard.extras import import_extra

keras = import_extra("keras", "keras")

Arrays = tuple[dict[str, Any], NDArray[np.int64], NDArray[np.float32]]


def membership(labels: Any, weight: Any = None, n_classes: int | None = None) -> NDArray[np.float32]:
    """(B, S, C): the weight of each row in the column of its class, from class indices.

    Args:
        labels: (B, S) class indices, from 0.
        weight: (B, S), 0 for padding; ones by default.
        n_classes: C; one more than the largest label by default.

    Raises:
        EpisodeError: labels of another shape, below 0 or not below C in a row that has weight.
    """
    y = np.asarray(labels)
    if y.ndim != 2 or y.dtype.kind not in "iu":
        raise EpisodeError(f"labels are {y.dtype} of shape {y.shape}: expected (tasks, rows) class indices.")
    w = np.ones(y.shape, np.float32) if weight is None else np.asarray(weight, np.float32)
    width = int(y.max(initial=0)) + 1 if n_classes is None else n_classes
    outside = ((y < 0) | (y >= width)) & (w > 0)
    if outside.any():
        raise EpisodeError(f"labels hold {int(y[outside][0])}: expected 0..{width - 1}; number the classes from 0.")
    return (y[..., None] == np.arange(width)).astype(np.float32) * w[..., None]


def episode_arrays(episode: Any) -> Arrays:
    """An `Episode` of Regard as what `fit`, `evaluate` and `predict` take.

    Args:
        episode: B tasks with classes.

    Raises:
        EpisodeError: targets that are numbers.
    """
    support = episode.support
    if support.is_regression:
        raise EpisodeError("the targets are numbers: expected classes; the Keras models classify.")

    def numpy(x: Any) -> Any:
        return {k: t.numpy(force=True) for k, t in x.items()} if isinstance(x, dict) else x.numpy(force=True)

    inputs = {
        "support": numpy(support.x),
        "membership": numpy(support.membership()),
        "query": numpy(episode.query_x),
    }
    return inputs, numpy(episode.query_y), numpy(episode.query_weight)


class EpisodeDataset(keras.utils.PyDataset):
    """Batches of a sampler's episodes for `fit`, new ones in every epoch.

    Args:
        sampler: episode numbers to a batch, such as `regard.EpisodeSampler`.
        n_batches: steps of an epoch.
        tasks_per_batch: episodes of a step.
        repeat: the same episodes in every epoch, for validation data, so that two epochs can be compared.
        first: number of the first episode.
        options: of `keras.utils.PyDataset`.

    Raises:
        ConfigError: a number below 1.
    """

    def __init__(
        self,
        sampler: Any,
        n_batches: int,
        tasks_per_batch: int = 1,
        *,
        repeat: bool = False,
        first: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if n_batches < 1 or tasks_per_batch < 1:
            raise ConfigError(
                f"n_batches is {n_batches} and tasks_per_batch {tasks_per_batch}: expected at least 1 of each."
            )
        self.sampler, self.n_batches, self.tasks_per_batch = sampler, n_batches, tasks_per_batch
        self.repeat, self.first, self.epoch = repeat, first, 0

    def __len__(self) -> int:
        return self.n_batches

    def __getitem__(self, index: int) -> Arrays:
        batch = index if self.repeat else self.epoch * self.n_batches + index
        start = self.first + batch * self.tasks_per_batch
        return episode_arrays(self.sampler(np.arange(start, start + self.tasks_per_batch)))

    def on_epoch_end(self) -> None:
        """The next epoch begins."""
        self.epoch += 1


def tf_dataset(dataset: EpisodeDataset) -> Any:
    """The same batches as a `tf.data.Dataset`, one epoch long; TensorFlow must be installed, whatever the backend.

    Each pass goes on where the last one ended, unless `dataset` repeats. Numbers of rows, classes and tokens may differ
    between batches.
    """
    tf = import_extra("tensorflow", "keras")

    def batches() -> Any:
        for i in range(len(dataset)):
            yield dataset[i]
        dataset.on_epoch_end()

    def specification(x: Any) -> Any:
        # The last axis of membership is the number of classes, and that of ids the number of n-grams.
        return tf.TensorSpec([None] * min(x.ndim, 3) + list(x.shape[3:]), x.dtype)

    made = tf.data.Dataset.from_generator(batches, output_signature=tf.nest.map_structure(specification, dataset[0]))
    # Without a length Keras runs into the end of the first epoch, and warns of it.
    return made.apply(tf.data.experimental.assert_cardinality(len(dataset))).prefetch(1)
