"""Pictures of what a policy did, beside the demonstrations it acted by, and the page that holds them."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.explain.demonstrations import AttendedRollout

Floats = NDArray[np.float64]


def draw_rollout(rollout: AttendedRollout, shown: Floats, path: Floats) -> bytes:
    """A PNG: on the left the places, demonstrated steps sized by attention; on the right the heat map.

    Args:
        rollout: its last task is drawn.
        shown: (S, 2) places of the demonstrated steps, without padding.
        path: (T + 1, 2) places of the rollout.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6))
    _draw_places(left, rollout, shown, path, len(path) - 1)
    present = rollout.weight[-1] > 0
    image = right.imshow(rollout.attention[-1][:, present], aspect="auto", cmap="viridis", vmin=0)
    right.set(xlabel="step of the demonstrations", ylabel="step of the rollout", title="attention")
    figure.colorbar(image, ax=right)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    plt.close(figure)
    return buffer.getvalue()


def _draw_places(axis: Any, rollout: AttendedRollout, shown: Floats, path: Floats, n_steps: int) -> None:
    """So many steps of the rollout; dots are as large as the attention of the next step, or of all where it is over."""
    attention = rollout.attention[-1][:, rollout.weight[-1] > 0]
    now = attention.mean(0) if n_steps >= len(attention) else attention[n_steps]
    # The label is the line's: a dot in the legend would be of any size.
    axis.plot(*shown.T, color="tab:blue", alpha=0.4, linewidth=1, label="demonstrated", zorder=1)
    sizes = 15 + 500 * now / max(now.max(), 1e-9)
    axis.scatter(*shown.T, s=sizes, alpha=0.6, color="tab:blue", zorder=2)
    axis.plot(*path[: n_steps + 1].T, color="tab:red", label="rollout", zorder=3)
    axis.plot(*path[n_steps], "o", color="tab:red", zorder=4)
    both = np.concatenate([shown, path])
    margin = 0.08 * np.ptp(both, axis=0).max()
    low, high = both.min(0) - margin, both.max(0) + margin
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", title="steps, sized by attention")
    axis.legend(loc="best", fontsize=8)


def film_of_rollout(rollout: AttendedRollout, shown: Floats, path: Floats) -> bytes:
    """A GIF of the left picture, step by step; arguments as `draw_rollout`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from PIL import Image

    n_steps = len(rollout.attention[-1])
    frames = []
    for step in np.unique(np.linspace(0, n_steps - 1, 20).astype(int)):
        figure, axis = plt.subplots(figsize=(4, 4), dpi=70)
        _draw_places(axis, rollout, shown, path, int(step))
        axis.set_title(f"step {step}")
        figure.tight_layout()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        plt.close(figure)
        frames.append(Image.open(buffer).convert("P", palette=Image.Palette.ADAPTIVE, colors=32))
    film = io.BytesIO()
    frames[0].save(film, format="GIF", save_all=True, append_images=frames[1:], duration=150, loop=0)
    return film.getvalue()


def rollout_page(title: str, figure: bytes, film: bytes) -> str:
    """One file that asks nothing of the network."""
    pictures = [
        f'<img alt="{html.escape(what)}" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'
        for what, kind, content in (
            ("demonstrated steps sized by attention with the rollout, and the heat map", "png", figure),
            ("the rollout as a film", "gif", film),
        )
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem}img{max-width:100%}</style>"
        f"<h1>{html.escape(title)}</h1>{pictures[0]}<p>Left: the steps that were shown, as large as they were attended "
        "to, and what the policy did. Right: which of them each of its steps read. Below: the same, step by step."
        f"</p>{pictures[1]}</html>"
    )
