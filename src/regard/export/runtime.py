"""onnxruntime-web, which runs a model in a browser: fetched once from the npm registry, or from a folder.

It is no part of this package (14 MB). The archive must have the digest below, so what runs in a user's page is what was
tested, whoever the registry is.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from regard.errors import DataError
from regard.files import cache_folder, write_whole

VERSION = "1.30.0"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


class Runtime(NamedTuple):
    """The contents of `FILES`."""

    script: bytes
    glue: bytes
    wasm: bytes


def browser_runtime(folder: Path | None = None) -> Runtime:
    """The three files.

    Args:
        folder: that has them, such as node_modules/onnxruntime-web/dist, or holds the archive; by default they are
            fetched once and kept in the cache.

    Raises:
        DataError: the folder lacks them, the registry cannot be reached, or sent something else.
    """
    home = folder or cache_folder() / f"onnxruntime-web-{VERSION}"
    if all((home / name).is_file() for name in FILES):
        return Runtime(*((home / name).read_bytes() for name in FILES))
    if folder is not None:
        archive = folder / URL.rpartition("/")[2]
        if not archive.is_file():
            raise DataError(
                f"{folder} has neither {', '.join(FILES)} nor {archive.name}: expected the folder dist of the npm "
                f"package onnxruntime-web {VERSION}, or what `npm pack onnxruntime-web@{VERSION}` gives."
            )
        return _unpacked(archive.read_bytes(), str(archive))
    try:
        with urllib.request.urlopen(URL, timeout=60) as answer:
            content = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise DataError(
            f"{URL} cannot be fetched ({error}): where there is a network run `npm pack onnxruntime-web@{VERSION}`, "
            "and give the folder of what it wrote as --ort."
        ) from error
    runtime = _unpacked(content, URL)
    for name, each in zip(FILES, runtime, strict=True):
        write_whole(home / name, each)
    return runtime


def _unpacked(archive: bytes, where: str) -> Runtime:
    digest = hashlib.sha512(archive).hexdigest()
    if digest != SHA512:
        raise DataError(f"{where} has the digest {digest[:16]}...: expected {SHA512[:16]}..., that of {VERSION}.")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [tar.extractfile(f"package/dist/{name}") for name in FILES]
        return Runtime(*(member.read() for member in members if member is not None))
