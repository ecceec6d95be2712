"""Molecules as RDKit draws them, in SVG without scripts or links; atoms that mattered are shaded."""

from __future__ import annotations

import html
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.domains.base import Rendering
from regard.domains.molecules.chemistry import Molecule, read_molecule
from regard.extras import import_extra

_SIZE = (220, 160)
_COLOUR = (0.93, 0.49, 0.19)


def render_molecule(
    thing: Any, saliency: NDArray[np.floating[Any]] | None = None, size: tuple[int, int] = _SIZE
) -> Rendering:
    """One molecule.

    Args:
        thing: SMILES, or a `Molecule`; anything else is shown as text.
        saliency: (P,) how much each atom mattered, in 0..1, in the order of RDKit's atoms of the largest fragment.
        size: width and height in pixels.
    """
    try:
        molecule = thing if isinstance(thing, Molecule) else read_molecule(thing, "largest")
    except ValueError:
        text = str(thing)[:200]
        return Rendering(f"<code>{html.escape(text)}</code>", text)
    draw = import_extra("rdkit.Chem.Draw.rdMolDraw2D", "molecules")
    drawer = draw.MolDraw2DSVG(*size)
    drawer.drawOptions().clearBackground = False
    strength = np.zeros(molecule.mol.GetNumAtoms())
    if saliency is not None:
        given = np.clip(np.asarray(saliency, dtype=np.float64).ravel()[: len(strength)], 0, 1)
        strength[: len(given)] = np.nan_to_num(given)
    shaded = [int(i) for i in np.flatnonzero(strength > 0.05)]
    colours = {i: tuple(1 - strength[i] * (1 - c) for c in _COLOUR) for i in shaded}
    draw.PrepareAndDrawMolecule(
        drawer, molecule.mol, highlightAtoms=shaded, highlightAtomColors=colours, highlightBonds=[]
    )
    drawer.FinishDrawing()
    svg = drawer.GetDrawingText()
    svg = re.sub(
        r"<\?xml.*?\?>\s*|<!--.*?-->\s*|\s(?:xmlns:(?:rdkit|xlink)|xml:space|baseProfile)='[^']*'",
        "",
        svg,
        flags=re.DOTALL,
    )
    name = html.escape(molecule.smiles)
    fits = 'style="max-width: 100%; height: auto"'  # a box smaller than the drawing shrinks it, and cuts nothing off
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{name}" {fits}', 1).strip()
    return Rendering(f'<span class="molecule">{svg}</span>', molecule.smiles)
