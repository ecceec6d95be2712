"""Files of ours and packed images."""

from __future__ import annotations

import io
import json
import random
import shutil
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from harness import damage, damage_json, target
from safetensors.torch import load

from regard.domains.cached import cached
from regard.domains.images.packed import packed_images, packed_parts
from regard.learners.prototypical import Prototypical
from regard.nn.conv4 import Conv4
from regard.recipes.components import build_learner
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler
from regard.sampling.manifest import read_manifest, write_manifest
from regard.training import Silent, TrainConfig, load_checkpoint, save_checkpoint, train
from regard.training.logs import Logs, read_metrics
from regard.training.sealed import write_sealed

# ---- checkpoints -----------------------------------------------------------------------------------------------------

SPEC = {
    "learner": {
        "name": "Prototypical",
        "encoder": {"name": "Conv4", "n_channels": 1, "n_filters": 4, "image_size": 12, "n_halvings": 2},
    }
}


def _sampler() -> EpisodeSampler:
    images = torch.randint(0, 256, (120, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return EpisodeSampler(Dataset.of(images, torch.arange(120) // 10), 5, 1, 2)


def _config() -> TrainConfig:
    return TrainConfig(steps=4, checkpoint_every=2, log_every=1, tensorboard=False, accelerator="cpu")


def _learner() -> Prototypical:
    torch.manual_seed(0)
    return Prototypical(Conv4(1, 4, n_halvings=2, pool="mean", image_size=12))


def _checkpoints(folder: Path) -> list[bytes]:
    save_checkpoint(folder / "a", build_learner(SPEC["learner"]), spec=SPEC, step=5, metrics={"accuracy": 0.5})
    return [(folder / "a").read_bytes()]


def _unpacked(content: bytes) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
    index = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(index["__metadata__"]["regard"]), load(content)


def _resealed(content: bytes, rng: random.Random) -> bytes:
    """Another header or other tensors under a digest that is right: all that lies behind it must stand by itself."""
    header, tensors = _unpacked(content)
    if rng.random() < 0.8:
        header = damage_json(header, rng)
    else:
        name = rng.choice(list(tensors))
        tensors = {
            k: rng.choice((t.flatten()[:1], t.double() * float("nan"), t.to(torch.int8), t))
            for k, t in tensors.items()
            if k != name
        }
    path = Path("/tmp") / f"regard-fuzz-{rng.randrange(2**40)}"
    try:
        write_sealed(path, header if isinstance(header, dict) else {"format": header}, tensors)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


@target(seeds=_checkpoints, suffix=".safetensors", mutate=_resealed)
def checkpoint(path: Path) -> None:
    """Read and built."""
    loaded = load_checkpoint(path)
    loaded.build(lambda spec: build_learner(spec["learner"]))


@cache
def _run(folder: Path) -> Path:
    train(_learner(), _sampler(), _config(), folder=folder / "run", progress=Silent())
    return folder / "run"


def _runs(folder: Path) -> list[bytes]:
    return [(_run(folder) / "last.safetensors").read_bytes()]


@target(seeds=_runs, suffix=".safetensors", mutate=_resealed)
def resume(path: Path) -> None:
    """A run resumed from it."""
    folder = path.parent / "resumed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(path, folder / "last.safetensors")
    train(_learner(), _sampler(), _config(), folder=folder, progress=Silent())


# ---- arrays ----------------------------------------------------------------------------------------------------------


def _packed(folder: Path) -> list[bytes]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    arrays = {"images": images, "labels": np.repeat(np.arange(6), 2), "class_names": np.array(list("abcdef"))}
    made = []
    for save, more in ((np.savez, {}), (np.savez_compressed, {"class_ids": np.arange(6), "track": np.arange(12)})):
        save(file := io.BytesIO(), **arrays, **more)
        made.append(file.getvalue())
    return made


def _repacked(content: bytes, rng: random.Random) -> bytes:
    """Damage under right checksums: arrays of other types and shapes, damaged headers, and bombs."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    array = np.load(io.BytesIO(members[name]))
    match rng.randrange(6):
        case 0:
            np.save(
                file := io.BytesIO(),
                array.astype(rng.choice(("f4", "i8", "U3", "?", ">u2", "c8", "M8[s]")))
                if array.dtype.kind != "U"
                else array[:3],
            )
            members[name] = file.getvalue()
        case 1:
            np.save(
                file := io.BytesIO(),
                rng.choice((array[:1], array[..., None], np.array(3), array[:0], -array.view(np.int8))),
            )
            members[name] = file.getvalue()
        case 2:
            members[name] = damage(members[name], rng)
        case 3:
            shape = rng.choice(
                ("(2305843009213693952,)", "(-1,)", "(1073741824, 1073741824)", "()", "(12, 8, 8, 3, 10**9)")
            )
            members[name] = members[name].replace(repr(array.shape).encode(), shape.encode())
        case 4:
            members[name] = members[name] + bytes(rng.choice((1, 2**20, 2**29)))
        case _:
            del members[name]
    with zipfile.ZipFile(
        file := io.BytesIO(), "w", rng.choice((0, 8)) if len(members.get(name, b"")) < 2**28 else 8, compresslevel=1
    ) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return file.getvalue()


@target(seeds=_packed, suffix=".npz", mutate=_repacked)
def packed(path: Path) -> None:
    """Images of one file."""
    packed_images(path)


@target(seeds=lambda folder: [b'{"train": ["a", "b"], "val": ["c"], "test": ["d"]}'], suffix=".json")
def packed_split(path: Path) -> None:
    """The split beside them."""
    packed_parts(Dataset(torch.zeros(4, 1), torch.arange(4), tuple("abcd")), path)


def _arrays() -> dict[str, np.ndarray]:
    return {"images": np.arange(48, dtype=np.uint8).reshape(3, 4, 4), "names": np.array(["a", "b", "c"])}


def _caches(folder: Path) -> list[bytes]:
    cached("glyphs", {"size": 4}, _arrays, folder)
    return [next(folder.glob("*.npz")).read_bytes()]


@target(seeds=_caches, suffix=".npz", mutate=_repacked)
def glyph_cache(path: Path) -> None:
    """Whatever lies in the cache, the arrays are right."""
    cached("glyphs", {"size": 4}, _arrays, path.parent / "cache")
    file = next((path.parent / "cache").glob("*.npz"))
    shutil.copy(path, file)
    for name, array in cached("glyphs", {"size": 4}, _arrays, file.parent).items():
        assert np.array_equal(array, _arrays()[name]), "a damaged cache was taken"


# ---- text ------------------------------------------------------------------------------------------------------------


def _manifests(folder: Path) -> list[bytes]:
    sampler = _sampler()
    write_manifest(folder / "m", sampler.rows(range(3)), sampler.dataset)
    return [(folder / "m").read_bytes()]


@target(
    seeds=_manifests,
    suffix=".json",
    mutate=lambda content, rng: json.dumps(damage_json(json.loads(content), rng)).encode(),
)
def manifest(path: Path) -> None:
    """Episodes written down."""
    sampler = _sampler()
    sampler.gather(read_manifest(path, sampler.dataset)).check()


@target(seeds=lambda folder: [b"step,loss,seconds\n2,0.5,\n4,0.25,1.5\n"], suffix=".csv")
def metrics(path: Path) -> None:
    """The curves of a run that is resumed."""
    read_metrics(path)
    folder = path.parent / "logs"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "metrics.csv")
    with Logs(folder, ("step", "loss", "seconds"), 4, 2, tensorboard=False) as logs:
        logs.write({"step": 6, "loss": 1.0, "seconds": None})
