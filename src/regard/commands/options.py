"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")]
Checkpoint = Annotated[Path, typer.Argument(help="A checkpoint (.safetensors), or the folder of a training run.")]
