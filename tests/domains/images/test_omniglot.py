"""Omniglot from its official files, from packed ones, and over a network that fails in every way."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from regard.domains.images.data import ImageData
from regard.domains.images.folder import ImageReader
from regard.domains.images.omniglot import BACKGROUND, CHECKSUMS, download, omniglot, omniglot_split
from regard.domains.images.options import ImageEpisodeOptions
from regard.errors import DataError, StorageError
from regard.sampling.dataset import Dataset
from regard.sampling.splits import check_disjoint

SHARED = Path(__file__).parents[3] / "shared" / "data" / "omniglot"
PAGES = np.random.default_rng(0).random((4, 105, 105)) > 0.1  # True is paper, as in the official PNGs
DRAWINGS = {
    "images_background/Greek/character02/0002_01.png": 0,
    "images_background/Greek/character01/0001_02.png": 1,
    "images_background/Greek/character01/0001_01.png": 2,
    "images_evaluation/Angelic/character01/0965_01.png": 3,
}
CLASSES = ("Angelic/character01", "Greek/character01", "Greek/character02")


def png(page: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(page).save(file, "PNG")
    return file.getvalue()


def write_zips(folder: Path) -> None:
    for part in ("images_background", "images_evaluation"):
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            archive.writestr(f"{part}/", "")
            archive.writestr(f"__MACOSX/{part}/Greek/character01/._0001_01.png", b"junk")
            for name, page in DRAWINGS.items():
                if name.startswith(part):
                    archive.writestr(name, png(PAGES[page]))


def write_folders(folder: Path) -> None:
    for name, page in DRAWINGS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(PAGES[page]))


def write_packed(folder: Path) -> None:
    ink = ~PAGES[[3, 2, 1, 0]]
    np.savez(
        folder / "omniglot105_shared.npz",
        images_packed=np.packbits(ink.reshape(4, -1), axis=1),
        labels=np.array([0, 1, 1, 2], np.int16),
        class_names=np.array(CLASSES),
        class_alphabet=np.array([name.split("/")[0] for name in CLASSES]),
    )


@pytest.mark.parametrize("size", [28, 105])
def test_zips_folders_and_packed_files_hold_the_same(tmp_path: Path, size: int) -> None:
    for i, writer in enumerate((write_zips, write_folders, write_packed)):
        folder = tmp_path / str(i)
        folder.mkdir()
        writer(folder)
        dataset = omniglot(folder, size=size)
        assert dataset.class_names == CLASSES
        assert dataset.class_groups == ("Angelic", "Greek", "Greek")
        assert dataset.y.tolist() == [0, 1, 1, 2]
        if size == 105:
            wanted = torch.from_numpy(~PAGES[[3, 2, 1, 0]]).byte() * 255
        else:
            wanted = omniglot(tmp_path / "0", size=size).x
        assert torch.equal(dataset.x, wanted)


def test_one_official_file_alone_is_read_and_its_split_says_what_is_missing(tmp_path: Path) -> None:
    write_zips(tmp_path)
    both = omniglot(tmp_path)
    assert omniglot_split(both, "background", tmp_path)["background"].class_names == CLASSES[1:]
    (tmp_path / "images_evaluation.zip").unlink()
    dataset = omniglot(tmp_path)
    assert dataset.class_names == CLASSES[1:]
    with pytest.raises(DataError, match="images_evaluation"):
        omniglot_split(dataset, "background", tmp_path)


def test_an_empty_folder_says_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images_background\.zip and images_evaluation\.zip into .*download"):
        omniglot(tmp_path)


@pytest.mark.parametrize("name", ["images_background.zip", "omniglot28_shared.npz", "omniglot105_shared.npz"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match=f"{name} is damaged"):
        omniglot(tmp_path)


def test_a_damaged_drawing_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path)
    (tmp_path / "images_background/Greek/character02/0002_01.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"0002_01\.png is not a picture"):
        omniglot(tmp_path)


def test_the_split_of_vinyals_is_read_from_a_file(tmp_path: Path) -> None:
    write_zips(tmp_path)
    dataset = omniglot(tmp_path)
    with pytest.raises(DataError, match=r"splits\.json"):
        omniglot_split(dataset, "vinyals", tmp_path)
    listed = {"train": [CLASSES[1]], "val": [CLASSES[0]], "test": [CLASSES[2]]}
    (tmp_path / "splits.json").write_text(json.dumps({"vinyals_minus_lake": listed}))
    parts = omniglot_split(dataset, "vinyals", tmp_path)
    assert {part: d.class_names for part, d in parts.items()} == {
        "train": (CLASSES[1],),
        "validation": (CLASSES[0],),
        "test": (CLASSES[2],),
    }
    listed["test"] = [CLASSES[1]]
    (tmp_path / "splits.json").write_text(json.dumps({"vinyals_minus_lake": listed}))
    with pytest.raises(DataError, match="disjoint"):
        omniglot_split(dataset, "vinyals", tmp_path)


def test_turned_characters_are_classes_where_episodes_say_so() -> None:
    one = Dataset(torch.rand(3, 4, 4), torch.zeros(3, dtype=torch.int64), ("Greek/character01",))
    data = ImageData.of("one", {"test": one}, ImageReader(4))
    plain = ImageEpisodeOptions(n_way=4, n_shot=1, n_query=1)
    with pytest.raises(DataError, match="4"):
        data.source("test", plain, 0)
    turned = data.source("test", plain.model_copy(update={"rotations": True}), 0)
    assert turned(range(3)).support.n_classes == 4


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the packed Omniglot in {SHARED}")
def test_the_packed_files_and_their_splits() -> None:
    dataset = omniglot(SHARED)
    assert dataset.x.shape == (24820, 28, 28)
    assert dataset.n_classes == 1241
    parts = omniglot_split(dataset, "vinyals", SHARED)
    check_disjoint(parts)
    assert [parts[p].n_classes for p in ("train", "validation", "test")] == [890, 172, 179]
    alphabets = omniglot_split(dataset, "background", SHARED)
    assert set(alphabets["background"].class_groups) == set(BACKGROUND)
    assert [d.n_classes for d in alphabets.values()] == [964, 277]
    # The small file is the large one, reduced as this module does it.
    with np.load(SHARED / "omniglot105_shared.npz") as file:
        packed = {name: file[name][:40] for name in ("images_packed", "labels")}
    ink = np.unpackbits(packed["images_packed"], axis=1)[:, : 105**2].reshape(-1, 105, 105) * np.uint8(255)
    reduced = [np.array(Image.fromarray(i).resize((28, 28), Image.Resampling.LANCZOS)) for i in ink]
    assert torch.equal(dataset.x[:40], torch.from_numpy(np.stack(reduced)))


# ---------------------------------------------------------------- the network

CONTENT = {name: np.random.default_rng(i).bytes(200_000) for i, name in enumerate(CHECKSUMS)}
SUMS = {name: md5(content).hexdigest() for name, content in CONTENT.items()}


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT; its class attributes say how it misbehaves."""

    ranges: ClassVar[bool] = True
    cut_after: ClassVar[int | None] = None
    status: ClassVar[int] = 200
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        content = CONTENT[self.path.lstrip("/")]
        wanted = self.headers.get("Range")
        type(self).asked.append(f"{self.path} {wanted}")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        status = self.status if self.status != 200 else 416 if start >= len(content) else 206 if start else 200
        self.send_response(status)
        if status >= 400:
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + self.cut_after] if self.cut_after else content[start:])

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Server, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def holds_all(folder: Path) -> bool:
    return {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def test_files_are_downloaded_once(tmp_path: Path, server: str) -> None:
    download(tmp_path / "new", url=server, checksums=SUMS)
    assert holds_all(tmp_path / "new")
    download(tmp_path / "new", url=server, checksums=SUMS)
    assert len(Server.asked) == 2


def test_a_connection_that_ends_early_is_continued_by_the_next_call(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "cut_after", 70_000)
    for _ in range(2):
        with pytest.raises(DataError, match="ended after 70000 of"):
            download(tmp_path, url=server, checksums=SUMS)
    monkeypatch.setattr(Server, "cut_after", None)
    download(tmp_path, url=server, checksums=SUMS)
    assert holds_all(tmp_path)
    assert Server.asked[1:3] == ["/images_background.zip bytes=70000-", "/images_background.zip bytes=140000-"]


def test_a_server_without_ranges_starts_anew(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "ranges", False)
    (tmp_path / "images_background.zip.part").write_bytes(CONTENT["images_background.zip"][:1000])
    download(tmp_path, url=server, checksums=SUMS)
    assert holds_all(tmp_path)


@pytest.mark.parametrize("extra", [b"", b"too much"])
def test_a_part_that_is_whole_or_too_long_does_not_stop_it(tmp_path: Path, server: str, extra: bytes) -> None:
    (tmp_path / "images_background.zip.part").write_bytes(CONTENT["images_background.zip"] + extra)
    download(tmp_path, url=server, checksums=SUMS)
    assert holds_all(tmp_path)


def test_another_file_than_expected_is_removed(tmp_path: Path, server: str) -> None:
    with pytest.raises(DataError, match=r"has the MD5 .*: expected 68d2efa1b9178cc56df9314c21c6e718"):
        download(tmp_path, url=server)
    assert list(tmp_path.iterdir()) == []
    # A part of something else is continued, found to be wrong, and gone; the next call succeeds.
    (tmp_path / "images_background.zip.part").write_bytes(b"something else")
    with pytest.raises(DataError, match="expected"):
        download(tmp_path, url=server, checksums=SUMS)
    download(tmp_path, url=server, checksums=SUMS)
    assert holds_all(tmp_path)


def test_no_network_says_what_to_put_where(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=f"put images_background.zip and images_evaluation.zip into {tmp_path}"):
        download(tmp_path, url="http://127.0.0.1:1")
    monkeypatch.setattr(Server, "status", 503)
    with pytest.raises(DataError, match="503"):
        download(tmp_path, url=server)


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path, server: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another folder"):
        download(tmp_path / "file" / "folder", url=server, checksums=SUMS)
