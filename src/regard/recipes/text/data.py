"""The tokenizer, under the name that scripts written before `regard.domains` use."""

from __future__ import annotations

from regard.domains.texts.tokenizer import Tokenizer

__all__ = ["Tokenizer"]
