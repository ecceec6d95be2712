"""Bodies that are not there, or not the ones they should be: said without any package of theirs."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from regard.errors import BodyError, MissingExtraError
from regard.nn.pretrained.bodies import OFFLINE_BODIES, OfflineBody, find_body, weights_digest


def test_a_package_that_is_missing_is_named_with_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OFFLINE_BODIES, "nothing", OfflineBody("nothing==1", "no_such:path", "00ff", "MIT", "texts"))
    with pytest.raises(MissingExtraError, match=r"regard\[pretrained\]'.*--no-deps nothing==1 .*00ff, MIT"):
        find_body("nothing")


def test_a_package_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    body = OfflineBody("pathlib==1", "pathlib:Path.cwd", "00ff", "MIT", "texts")
    monkeypatch.setitem(OFFLINE_BODIES, "here", body)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BodyError, match="expected 00ff of pathlib==1; install that package again"):
        find_body("here")


def test_folders_that_hold_no_body_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BodyError, match=r"no body at .*copy a folder with config.json"):
        find_body(tmp_path / "elsewhere" / "body")
    with pytest.raises(BodyError, match=r"no config\.json"):
        find_body(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BodyError, match=r"no \*\.safetensors"):
        find_body(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(BodyError, match="pickled weights"):
        find_body(tmp_path)


def test_a_body_is_known_by_its_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    both = sha256("".join(sha256(name.encode()).hexdigest() for name in "ab").encode()).hexdigest()
    body = find_body(tmp_path)
    assert body.digest == both
    body.require(both)
    (tmp_path / "b.safetensors").unlink()
    assert weights_digest(tmp_path / "a.safetensors") == sha256(b"a").hexdigest()
    with pytest.raises(BodyError, match="a head fits its own body only"):
        find_body(tmp_path).require(both)
