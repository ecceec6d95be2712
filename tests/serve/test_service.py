"""The service as a client sees it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from regard.commands.serve import run_service
from regard.errors import ConfigError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.serve.service import ServiceOptions, create_app

pytest.importorskip("fastapi", reason="needs the extra serve")
testclient = pytest.importorskip("fastapi.testclient", reason="needs httpx")

ROWS = np.random.default_rng(0).normal(size=(12, 3)).round(3).tolist()
LABELS = ["a", "b", "c"] * 4


def client(folder: Path, learner: str = "tables", **options: Any) -> Any:
    return testclient.TestClient(create_app(ServiceOptions(learner, folder, **options)))


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Any]:
    with client(tmp_path, max_rows=20, max_handles=3, max_bytes=20_000) as made:
        yield made


def adapted(service: Any, **more: Any) -> str:
    answer = service.post("/adapt", json={"examples": ROWS, "labels": LABELS, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["handle"]


def test_answers_are_those_of_the_estimator(tables: Any) -> None:
    handle = adapted(tables)
    answers = tables.post(f"/predict/{handle}", json={"queries": ROWS}).json()["answers"]
    expected = FewShotClassifier("tables").fit(ROWS, LABELS).predict_all(ROWS)
    assert [answer["label"] for answer in answers] == expected.label.tolist()
    found = [[answer["probability"][name] for name in "abc"] for answer in answers]
    np.testing.assert_allclose(found, expected.probability, atol=1e-6)


def test_a_deleted_handle_is_gone(tables: Any) -> None:
    handle = adapted(tables)
    assert tables.delete(f"/handles/{handle}").status_code == 204
    assert tables.post(f"/predict/{handle}", json={"queries": ROWS}).status_code == 404
    assert tables.delete(f"/handles/{handle}").status_code == 404


def test_numbers_have_deviations(tmp_path: Path) -> None:
    with client(tmp_path, regression=True) as service:
        y = [row[0] for row in ROWS]
        answer = service.post("/adapt", json={"examples": ROWS, "labels": y}).json()
        assert answer["classes"] is None
        answers = service.post(f"/predict/{answer['handle']}", json={"queries": ROWS[:2]}).json()["answers"]
        mean, deviation = FewShotRegressor("tables").fit(ROWS, y).predict(ROWS[:2], return_std=True)
        np.testing.assert_allclose([a["value"] for a in answers], mean, rtol=1e-5)
        np.testing.assert_allclose([a["deviation"] for a in answers], deviation, rtol=1e-5)


def letter(text: str) -> str:
    picture = Image.new("L", (40, 40), 255)
    ImageDraw.Draw(picture).text((12, 8), text, fill=0, font_size=24)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_pictures_come_in_base64_and_say_which_example_they_looked_at(tmp_path: Path) -> None:
    with client(tmp_path, "characters") as service:
        answer = service.post("/adapt", json={"examples": [letter("O"), letter("T")], "labels": ["O", "T"]})
        query = "data:image/png;base64," + letter("T")
        answers = service.post(f"/predict/{answer.json()['handle']}", json={"queries": [query]}).json()["answers"]
        assert answers[0]["label"] == "T"
        assert answers[0]["attention"][1] > 0.5


def test_no_file_of_the_server_is_read(tmp_path: Path) -> None:
    picture = tmp_path / "secret.png"
    Image.new("L", (9, 9)).save(picture)
    with client(tmp_path / "handles", "characters") as service:
        answer = service.post("/adapt", json={"examples": [str(picture)] * 2, "labels": ["a", "b"]})
        assert answer.status_code == 422
        assert "expected the content of an image file in base64" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"examples": ROWS, "labels": ["a"]}, "1"),
        ({"examples": [], "labels": []}, "at least 1"),
        ({"examples": ROWS, "labels": LABELS, "weights": [-1.0] * 12}, "weight"),
        ({"examples": [[1, 2], [3]], "labels": ["a", "b"]}, "expected"),
        ({"examples": [{"a": 1}, 3], "labels": ["a", "b"]}, "expected"),
        ({"examples": ROWS * 2, "labels": LABELS * 2}, "at most 20"),
        ({"examples": ROWS, "labels": LABELS, "more": 1}, "Extra"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(tables: Any, body: dict[str, Any], message: str) -> None:
    answer = tables.post("/adapt", json=body)
    assert answer.status_code == 422
    assert message in answer.text


def test_limits_of_bytes_and_handles(tables: Any) -> None:
    assert tables.post("/adapt", content=b" " * 20_001).status_code == 413
    assert tables.post("/adapt", content=(b" " * 10_000 for _ in range(3))).status_code == 413  # without a length
    for weight in range(1, 4):
        adapted(tables, weights=[float(weight)] * 12)
    answer = tables.post("/adapt", json={"examples": ROWS, "labels": LABELS})
    assert answer.status_code == 507
    assert "delete some" in answer.json()["detail"]


def test_a_body_that_is_no_json_is_refused(tables: Any) -> None:
    assert tables.post("/adapt", content=b"{", headers={"content-type": "application/json"}).status_code == 422


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    with client(tmp_path, token="s3cret") as service:
        assert service.get("/health").status_code == 200
        assert service.get("/metrics").status_code == 401
        assert service.get("/metrics", headers={"Authorization": "Bearer other"}).status_code == 401
        assert service.get("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_an_open_address_without_a_token_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGARD_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="REGARD_TOKEN"):
        run_service("tables", "0.0.0.0", 0, tmp_path)


def test_health_metrics_and_description(tables: Any, caplog: pytest.LogCaptureFixture) -> None:
    handle = adapted(tables)
    with caplog.at_level("INFO", "regard.serve"):
        tables.post(f"/predict/{handle}", json={"queries": ROWS})
    assert '"route": "/predict/{handle}", "status": 200' in caplog.text
    assert tables.get("/health").json() == {"status": "ok", "learner": "tables", "handles": 1}
    text = tables.get("/metrics").text
    assert 'regard_requests_total{route="/predict/{handle}",status="200"} 1' in text
    assert "regard_handles 1" in text
    assert set(tables.get("/openapi.json").json()["paths"]) == {
        "/adapt",
        "/predict/{handle}",
        "/handles/{handle}",
        "/health",
        "/metrics",
    }
    assert tables.get("/docs").status_code == 404
