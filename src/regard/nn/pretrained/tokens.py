"""Texts to the tokens of a body, by its own tokenizer: windows of long texts, and the spans of marked entities.

    {"ids": (N, L), "mask": (N, L)}                                   mask is 1 for tokens, 0 for padding
    {..., "head": (N, L), "tail": (N, L)}                             1 for the tokens of the first and second entity

A text longer than the body reads is cut into windows of `length` tokens, which stand one after another: L is then a
multiple of `length`, and the encoder averages over them. Entities are marked in the text itself:

    [E1] Ada Lovelace [/E1] was the daughter of [E2] Lord Byron [/E2] .
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from regard.errors import BodyError, DataError
from regard.extras import import_extra
from regard.nn.pretrained.bodies import EXTRA, Body, offline_remedies

_MARKS = re.compile(r"\[(/?)(E[12])\]\s?", re.IGNORECASE)
_MOST_WINDOWS = 16
"""Of one text: some 4,000 tokens of a body that reads 256. Of longer texts, so many are read, evenly spread."""


class BodyTokenizer:
    """The tokenizer of a body.

    Args:
        body: whose tokenizer.
        length: most tokens of a window; None takes what the body's own files say, and at most 256.

    Raises:
        MissingExtraError: transformers is not installed.
        BodyError: no tokenizer, or one without a padding token.
    """

    def __init__(self, body: Body, length: int | None = None) -> None:
        self.body = body
        self.length = min(_longest(body), length or 256)
        self._tokenizer = _load(body)

    @property
    def digest(self) -> str:
        """Of what decides the tokens: the tokenizer's own files and the length of a window."""
        names = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt")
        files = [self.body.folder / name for name in names]
        content = [file.read_bytes() for file in files if file.is_file()]
        return sha256(b"\0".join([*content, str(self.length).encode()])).hexdigest()

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """N texts to items.

        Raises:
            DataError: marks of entities that are not a pair each, or that only some of the texts have.
        """
        marked = [_MARKS.search(text) is not None for text in texts]
        if any(marked) and not all(marked):
            raise DataError(
                f"text {marked.index(False)} has no marked entities, and others have: mark both in every text as "
                "[E1] ... [/E1] and [E2] ... [/E2], or in none."
            )
        spans = [_take_marks(text, i) for i, text in enumerate(texts)] if any(marked) else []
        plain = [text for text, _ in spans] if spans else list(texts)
        encoded = self._tokenizer(
            plain,
            truncation=True,
            max_length=self.length,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=True,
        )
        windows: list[list[int]] = [[] for _ in texts]
        for window, row in enumerate(encoded["overflow_to_sample_mapping"]):
            windows[row].append(window)
        for row, each in enumerate(windows):
            if len(each) > _MOST_WINDOWS:
                step = (len(each) - 1) / (_MOST_WINDOWS - 1)
                windows[row] = [each[round(i * step)] for i in range(_MOST_WINDOWS)]
        n_windows = max(len(each) for each in windows) if windows else 1
        width = max((len(encoded["input_ids"][w]) for each in windows for w in each), default=1)
        width = self.length if n_windows > 1 else width
        names = ("ids", "mask", "head", "tail") if spans else ("ids", "mask")
        items = {name: torch.zeros(len(texts), n_windows * width, dtype=torch.int64) for name in names}
        for row, each in enumerate(windows):
            for place, window in enumerate(each):
                ids = encoded["input_ids"][window]
                here = slice(place * width, place * width + len(ids))
                items["ids"][row, here] = torch.tensor(ids)
                items["mask"][row, here] = 1
                if spans:
                    offsets = torch.tensor(encoded["offset_mapping"][window])
                    for name, (first, last) in zip(("head", "tail"), spans[row][1], strict=True):
                        inside = (offsets[:, 0] < last) & (offsets[:, 1] > first)
                        items[name][row, here] = inside.to(torch.int64)
        for name in names[2:]:
            lost = items[name].sum(1) == 0
            if bool(lost.any()):
                row = int(lost.nonzero()[0, 0])
                raise DataError(
                    f"the {name} entity of text {row} has no token: mark at least one word. {texts[row]!r:.80}"
                )
        return items

    def texts(self, items: dict[str, Tensor]) -> list[str]:
        """The texts of items, as their tokens spell them."""
        rows = zip(items["ids"].tolist(), items["mask"].tolist(), strict=True)
        kept = [[token for token, there in zip(ids, mask, strict=True) if there] for ids, mask in rows]
        return list(self._tokenizer.batch_decode(kept, skip_special_tokens=True))

    @property
    def n_special(self) -> int:
        """Tokens that the tokenizer adds to every window."""
        return int(self._tokenizer.num_special_tokens_to_add())

    def words(self, text: str) -> list[str]:
        """Its tokens as people read them, special ones included, of the first window."""
        ids = self._tokenizer(_MARKS.sub("", text), truncation=True, max_length=self.length)["input_ids"]
        return list(self._tokenizer.convert_ids_to_tokens(ids))


@lru_cache(maxsize=8)
def _load(body: Body) -> Any:
    transformers = import_extra("transformers", EXTRA)
    files = [file for pattern in ("tokenizer.json", "vocab.*", "*.model") for file in body.folder.glob(pattern)]
    if not files:  # of which transformers would make a tokenizer that knows no word
        raise BodyError(
            f"{body.folder} has no tokenizer: expected tokenizer.json, as tokenizer.save_pretrained(folder) writes it."
        )
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            body.folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever a folder without one makes of it
        raise BodyError(
            f"{body.folder} has no tokenizer that could be loaded ({type(error).__name__}: {str(error)[:200]}): "
            f"{offline_remedies('texts')}."
        ) from error
    if tokenizer.pad_token_id is None:
        raise BodyError(
            f"the tokenizer in {body.folder} has no padding token, so that texts of several lengths make no batch: "
            "expected an encoder's tokenizer, or pad_token in its tokenizer_config.json."
        )
    if not tokenizer.is_fast:
        raise BodyError(
            f"{body.folder} has no tokenizer.json: expected a fast tokenizer, which says where each token stands in "
            "the text."
        )
    return tokenizer


def _longest(body: Body) -> int:
    """Tokens that a body reads at once, by its own files."""
    config, tokenizer = body.read_json("config.json"), body.read_json("tokenizer_config.json")
    positions = config.get("max_position_embeddings")
    # RoBERTa and its variants begin to count positions after the padding index.
    offset = 2 if str(config.get("model_type")) in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
    limits = [
        body.read_json("sentence_bert_config.json").get("max_seq_length"),
        tokenizer.get("model_max_length"),
        None if positions is None else positions - offset,
    ]
    whole = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < 1e6]
    return min(whole, default=256)


def _take_marks(text: str, row: int) -> tuple[str, tuple[tuple[int, int], tuple[int, int]]]:
    """The text without marks, and the characters of both entities."""
    plain, places, begin = "", {}, 0
    for mark in _MARKS.finditer(text):
        plain += text[begin : mark.start()]
        begin = mark.end()
        key = (mark[2].upper(), bool(mark[1]))
        if key in places:
            break
        places[key] = len(plain)
    else:
        plain += text[begin:]
        pairs = [(places.get((name, False)), places.get((name, True))) for name in ("E1", "E2")]
        whole = [(first, last) for first, last in pairs if first is not None and last is not None and first < last]
        if len(whole) == 2:
            return plain, (whole[0], whole[1])
    raise DataError(
        f"text {row} has marks of entities that are not one pair each: expected [E1] ... [/E1] and [E2] ... [/E2] "
        f"once; found {text!r:.80}"
    )
