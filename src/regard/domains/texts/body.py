"""Texts read by the tokenizer of a pretrained body, and the states of its frozen layers, kept in the cache on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from regard.domains.base import Reader
from regard.domains.texts.tokenizer import require_texts
from regard.episode import Items
from regard.errors import ConfigError
from regard.nn.encoding_cache import EncodingCache, encode_cached
from regard.nn.pretrained.bodies import find_body
from regard.nn.pretrained.text import PretrainedText
from regard.nn.pretrained.tokens import BodyTokenizer


@dataclass(frozen=True)
class BodyReader(Reader):
    """Texts to the tokens of a body; entities marked by [E1] ... [/E1] and [E2] ... [/E2] become spans.

    Args:
        body: short name, path, or name on the hub.
        digest: SHA-256 that its weights must have; None takes any.
        length: most tokens of a window; longer texts are read in several.
    """

    body: str
    digest: str | None = None
    length: int | None = None

    @cached_property
    def tokenizer(self) -> BodyTokenizer:
        """Of the body.

        Raises:
            MissingExtraError, BodyError: as `find_body` and `BodyTokenizer`.
        """
        body = find_body(self.body)
        body.require(self.digest)
        return BodyTokenizer(body, self.length)

    def __call__(self, things: Any) -> dict[str, Tensor]:
        return self.tokenizer(require_texts(things))

    def to_dict(self) -> dict[str, Any]:
        return {"body": self.body, "digest": self.digest, "length": self.length}

    @classmethod
    def from_dict(cls, content: Any) -> BodyReader:
        """Undo `to_dict`.

        Raises:
            ConfigError: a description that is none.
        """
        try:
            return cls(str(content["body"]), content.get("digest"), content.get("length"))
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{content!r:.100} describes no reader of texts: expected the name of a body.") from error

    def is_blank(self, items: Items) -> NDArray[np.bool_]:
        assert isinstance(items, dict)
        return (items["mask"].sum(1) <= self.tokenizer.n_special).numpy()


class StateReader:
    """Texts to token items with the states of a body's frozen layers, so that training runs the others only.

    Args:
        body: short name, path, or name on the hub.
        n_trained_layers: of the encoder that is to be trained; 0 keeps the states of the last layer.
        most_tokens: later tokens of a text are left out: the states of N texts take N * L * D * 2 bytes.
        cache: where states are kept; by default the one in the cache folder of the user.

    Raises:
        MissingExtraError, BodyError: as `PretrainedText`.
    """

    def __init__(
        self, body: str, n_trained_layers: int, most_tokens: int = 64, cache: EncodingCache | None = None
    ) -> None:
        self.encoder = PretrainedText(body, n_trained_layers=n_trained_layers)
        self.reader = BodyReader(body, self.encoder.body.digest)
        self.most_tokens, self.cache = most_tokens, cache or EncodingCache()

    @property
    def settings(self) -> dict[str, Any]:
        """Of the encoder that takes these items."""
        return {
            "body": self.reader.body,
            "digest": self.reader.digest,
            "n_trained_layers": self.encoder.n_trained_layers,
        }

    def __call__(self, *groups: Sequence[str]) -> dict[str, Tensor]:
        """Groups of texts, each with marked entities or without, one after another.

        Returns:
            ids, mask, head, tail (N, L) and states (N, L, D) float16. A text without marked entities has all its tokens
            in place of both, so that sentences and relations are items of one form, and its vector is what it was.
        """
        parts = [self._read(list(texts)) for texts in groups if texts]
        width = max(part["ids"].shape[1] for part in parts)
        padded = [{k: F.pad(t, (0, 0) * (t.ndim - 2) + (0, width - t.shape[1])) for k, t in p.items()} for p in parts]
        return {name: torch.cat([part[name] for part in padded]) for name in padded[0]}

    def _read(self, texts: list[str]) -> dict[str, Tensor]:
        items = {name: t[:, : self.most_tokens] for name, t in self.reader(texts).items()}
        lengths = items["mask"].sum(1).tolist()
        contents = [items["ids"][i, :length].numpy().tobytes() for i, length in enumerate(lengths)]

        def encode(rows: list[int]) -> list[Tensor]:
            plain = {name: items[name][rows] for name in ("ids", "mask")}
            states = self.encoder.prepare(plain)["states"]
            return [states[i, : lengths[row]] for i, row in enumerate(rows)]

        space = f"{self.encoder.space}/{self.reader.tokenizer.digest}"
        found = encode_cached(
            self.cache, space, contents, encode, sizes=lengths, title=f"states of {len(texts)} texts", batch=128
        )
        states = torch.zeros(*items["ids"].shape, self.encoder.n_features, dtype=torch.float16)
        for row, array in enumerate(found):
            states[row, : len(array)] = array
        spans = {name: items.get(name, items["mask"]) for name in ("head", "tail")}
        return {"ids": items["ids"], "mask": items["mask"], **spans, "states": states}
