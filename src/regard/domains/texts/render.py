"""Texts as HTML, with the tokens that mattered marked."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.domains.base import Rendering


def render_tokens(text: str, tokens: Sequence[str], saliency: NDArray[np.floating[Any]] | None = None) -> Rendering:
    """One text; where saliency is known its tokens, each the darker the more it mattered.

    Args:
        text: as the user wrote it.
        tokens: L of them, as the learner reads them.
        saliency: (L,) in 0..1; longer is cut, shorter means that the last tokens were not read.
    """
    if saliency is None:
        return Rendering(f'<span class="text">{html.escape(text)}</span>', text)
    strength = np.zeros(len(tokens))
    read = np.clip(np.asarray(saliency, dtype=np.float64).ravel()[: len(tokens)], 0, 1)
    strength[: len(read)] = read
    marked = " ".join(
        f'<span class="token" style="--saliency:{s:.2f}">{html.escape(token)}</span>'
        for token, s in zip(tokens, strength, strict=True)
    )
    return Rendering(f'<span class="text">{marked}</span>', text)
