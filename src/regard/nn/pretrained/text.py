"""Texts by a pretrained transformer: one vector per text, one per token, or three of a sentence and its two entities.

    vector    z = mean of the last states of the tokens (or what the body's own 1_Pooling says), of length 1
    spans     [z, mean over the first entity, mean over the second], each of length 1, together of length 1
    parts     the last states of the tokens, zeros at padding

Reimers and Gurevych 2019, "Sentence-BERT", arXiv:1908.10084, for pooled states as the vector of a sentence; Soares et
al. 2019, "Matching the Blanks", arXiv:1906.03158, for the states of marked entities as the vector of a relation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from regard.episode import Items
from regard.nn.pretrained.encoder import BodyOptions, PretrainedEncoder
from regard.nn.pretrained.tokens import BodyTokenizer
from regard.nn.sequence import tokens

_TOKENS_AT_ONCE = 4096
"""Padding included: states of more leave the cache of a CPU, of fewer leave its cores without work."""


class PretrainedText(PretrainedEncoder):
    """Token items, as `BodyTokenizer` makes them, to vectors.

    Items with "head" and "tail" give (N, 3 D); all others (N, D). Items may also hold "states" of `prepare`.

    Args:
        body: as for `PretrainedEncoder`.
        options: as for `PretrainedEncoder`; pooling "auto" takes what the body's own files say, or else the mean.

    Raises:
        MissingExtraError, BodyError: as `PretrainedEncoder`.
        EpisodeError: in `forward`, items without ids and mask.
    """

    tower = "text_model"
    poolings = ("auto", "mean", "cls", "max")

    def __init__(self, body: str = "minilm", **options: Unpack[BodyOptions]) -> None:
        super().__init__(body, **options)
        self.n_features = int(self.model.config.hidden_size)
        own = self.body.read_json("1_Pooling/config.json")
        by_file = (
            "cls" if own.get("pooling_mode_cls_token") else "max" if own.get("pooling_mode_max_tokens") else "mean"
        )
        if self.pooling == "auto":
            self.pooling = by_file
        self.length = BodyTokenizer(self.body).length

    def forward(self, x: Items) -> Float[Tensor, "N *L D"]:
        """Token items to (N, D), (N, 3 D) or (N, L, D); equal items, such as padding, are run once."""
        tokens(x)  # which says what was expected
        assert isinstance(x, dict)
        key = torch.cat([x[name] for name in ("ids", "mask", "head", "tail") if name in x], 1)
        _, position = torch.unique(key, dim=0, return_inverse=True)
        first = torch.full((int(position.max()) + 1 if len(position) else 0,), len(position), device=position.device)
        first = first.scatter_reduce(0, position, torch.arange(len(position), device=position.device), "amin")
        return self._encode({name: t[first] for name, t in x.items()})[position]

    def _encode(self, x: dict[str, Tensor]) -> Tensor:
        dtype, device = self.dtype_and_device()
        if self.parts:
            z = torch.zeros(*x["ids"].shape, self.n_features, dtype=dtype, device=device)
            for rows, part in self._windows(x):
                z = z.index_put((rows[:, None], part["place"]), self._states(part) * part["mask"][..., None])
            return z
        names = ("mask", "head", "tail") if "head" in x else ("mask",)
        total = torch.zeros(len(x["ids"]), len(names), self.n_features, dtype=dtype, device=device)
        mass = torch.zeros(len(x["ids"]), len(names), 1, dtype=dtype, device=device)
        for rows, part in self._windows(x):
            states = self._states(part)
            for i, name in enumerate(names):
                pooled, count = self._pool(states, part[name].to(dtype), "mean" if i else self.pooling)
                total = total.index_put((rows, torch.full_like(rows, i)), pooled * count, accumulate=True)
                mass = mass.index_put((rows, torch.full_like(rows, i)), count, accumulate=True)
        z = total / torch.where(mass > 0, mass, 1.0)
        z = F.normalize(z, dim=-1) / len(names) ** 0.5 if self.normalise else z
        return z.flatten(1)

    def _example(self) -> dict[str, Tensor]:
        ids = torch.tensor([[1, 2, 3], [2, 3, 0]]) % int(self.model.config.vocab_size)
        return {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}

    def prepare(self, x: Items) -> dict[str, Tensor]:
        """The items with the states of the frozen layers, as float16."""
        assert isinstance(x, dict)
        _, device = self.dtype_and_device()
        states = torch.zeros(*x["ids"].shape, self.n_features, dtype=torch.float16, device=device)
        for rows, part in self._windows(x):
            states[rows[:, None], part["place"]] = self.run_frozen(_inputs(part)).to(torch.float16)
        return {**x, "states": states * (x["mask"] > 0)[..., None]}

    def part_weight(self, z: Float[Tensor, "*N L D"]) -> Float[Tensor, "*N L"]:
        return (z != 0).any(-1).to(z.dtype)

    def _states(self, part: dict[str, Tensor]) -> Float[Tensor, "n l D"]:
        inputs = _inputs(part)
        frozen = part["states"] if "states" in part else self.run_frozen(inputs)
        return self.run_trained(frozen, inputs)

    @staticmethod
    def _pool(states: Tensor, mask: Tensor, pooling: str) -> tuple[Tensor, Tensor]:
        """(n, D) of each window, and its number of tokens (n, 1), by which windows are averaged."""
        count = mask.sum(1, keepdim=True)
        if pooling == "mean":
            return (mask[:, None, :] @ states).squeeze(1) / count.clamp_min(1), count
        if pooling == "cls":
            return states[:, 0], count
        return states.masked_fill(mask[..., None] == 0, -torch.inf).amax(1), count

    def _windows(self, x: dict[str, Tensor]) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The windows that have tokens, batched by length: the row of each, its tensors (n, l, ...), and its places."""
        ids, _ = tokens(x)
        n_rows, n_tokens = ids.shape
        width = min(n_tokens, self.length) or 1
        n_windows = -(-n_tokens // width)
        place = torch.arange(n_windows * width, device=ids.device).view(n_windows, width).repeat(n_rows, 1)
        row = torch.arange(n_rows, device=ids.device).repeat_interleave(n_windows)
        named = {name: F.pad(t, (0, 0) * (t.ndim - 2) + (0, n_windows * width - n_tokens)) for name, t in x.items()}
        named = {name: t.reshape(n_rows * n_windows, width, *t.shape[2:]) for name, t in named.items()}
        # Padding may stand anywhere, so a window is as long as its last token.
        last = ((named["mask"] > 0) * torch.arange(1, width + 1, device=ids.device)).amax(1)
        order = last.argsort(descending=True, stable=True)
        order = order[: int((last > 0).sum())]
        while len(order):
            longest = int(last[order[0]])
            batch, order = order.split((n := min(len(order), max(1, _TOKENS_AT_ONCE // longest)), len(order) - n))
            part = {name: t[batch, :longest] for name, t in named.items()}
            yield row[batch], {**part, "place": place[batch, :longest]}


def _inputs(part: dict[str, Tensor]) -> dict[str, Any]:
    return {"input_ids": part["ids"], "attention_mask": (part["mask"] > 0).to(torch.int64)}
