"""The routes of `regard serve`.

    POST   /adapt               examples and labels to a handle: the hash of their content
    POST   /predict/{handle}    queries to labels and probabilities, or numbers and deviations
    DELETE /handles/{handle}
    GET    /health, /metrics (Prometheus), /openapi.json

Nothing of it asks for anything on the network; there is no page of documentation, since FastAPI's loads a script.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field

from regard.errors import RegardError
from regard.estimators import FewShotClassifier
from regard.estimators.base import Pass
from regard.estimators.together import answer_together
from regard.extras import import_extra
from regard.serve.batching import Answers, Batcher, Question
from regard.serve.handles import Estimator, HandleStore, TooManyHandles, UnknownHandle

logger = logging.getLogger("regard.serve")

MAX_BYTES = 2**25
"""Of one request: 32 MiB, some 30 photographs of a telephone."""

MAX_ROWS = 4096
"""Examples, or queries, of one request."""

MAX_HANDLES = 1000
"""Kept on disk; examples of one handle are a request at most."""


_ERRORS = {
    code: {"description": what}
    for code, what in {
        400: "A body that is not JSON",
        401: "No token, or another",
        404: "An unknown handle",
        413: "A body beyond the limit",
        422: "Things that cannot be what they claim",
        507: "No room for another handle",
    }.items()
}


@dataclass(frozen=True)
class ServiceOptions:
    """What a service may be asked.

    Args:
        learner: a name that ships, a checkpoint, or the folder of a run.
        folder: where handles are kept.
        regression: whether its answers are numbers.
        token: that requests must carry as `Authorization: Bearer TOKEN`; None asks for none.
        max_bytes, max_rows, max_handles: limits of a request, of its rows, and of what is kept.
    """

    learner: str
    folder: Path
    regression: bool = False
    token: str | None = None
    max_bytes: int = MAX_BYTES
    max_rows: int = MAX_ROWS
    max_handles: int = MAX_HANDLES


class AdaptRequest(BaseModel):
    """Labelled examples. Images are base64 of a file; texts, rows of a table and arrays are themselves."""

    model_config = ConfigDict(extra="forbid")
    examples: list[Any] = Field(min_length=1, description="one per label")
    labels: list[str | int | float | bool] = Field(min_length=1, description="classes, or numbers")
    weights: list[float] | None = Field(default=None, description="how much each example counts; 0 leaves it out")


class AdaptResponse(BaseModel):
    """What to ask from now on."""

    handle: str
    classes: list[str | int | float | bool] | None
    n_examples: int


class PredictRequest(BaseModel):
    """Things to answer, each as an example."""

    model_config = ConfigDict(extra="forbid")
    queries: list[Any] = Field(min_length=1)


class PredictResponse(BaseModel):
    """One answer per query: label, probability, answered and attention, or value and deviation."""

    answers: list[dict[str, Any]]


class _Service:
    """The state behind the routes."""

    def __init__(self, options: ServiceOptions) -> None:
        self.options = options
        self.store = HandleStore(options.learner, options.regression, options.folder, max_handles=options.max_handles)
        self.batcher = Batcher(self.predict)
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def predict(self, questions: Sequence[Question]) -> list[Answers | Exception]:
        """For each question one answer per query, or what is wrong with it."""
        models: dict[int, Estimator] = {}
        things: dict[int, Any] = {}
        found: dict[int, Answers | Exception] = {}
        for number, question in enumerate(questions):
            try:
                models[number] = self.store.get(question.handle)
                things[number] = self.store.domain.from_json(list(question.queries))
            except RegardError as error:
                found[number] = error
        readable = [number for number in things if number not in found]
        passes = answer_together([(models[number], things[number]) for number in readable])
        for number, made in zip(readable, passes, strict=True):
            found[number] = made if isinstance(made, RegardError) else _answers(models[number], made)
        return [found[number] for number in range(len(questions))]

    def metrics(self) -> str:
        """Prometheus text."""
        lines = ["# TYPE regard_requests_total counter"]
        lines += [
            f'regard_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in sorted(self.requests.items())
        ]
        lines.append("# TYPE regard_request_seconds_total counter")
        lines += [f'regard_request_seconds_total{{route="{r}"}} {s:.6f}' for r, s in sorted(self.seconds.items())]
        lines += [
            "# TYPE regard_passes_total counter",
            f"regard_passes_total {self.batcher.n_passes}",
            "# TYPE regard_handles gauge",
            f"regard_handles {len(self.store)}",
        ]
        return "\n".join(lines) + "\n"


def _answers(model: Estimator, made: Pass) -> Answers:
    """One answer per query, as JSON."""
    if isinstance(model, FewShotClassifier):
        found = model.predictions_of(made)
        classes = [str(name) for name in model.classes_.tolist()]
        attention = [None] * len(found.blank) if found.attention is None else found.attention.tolist()
        each = zip(found.label.tolist(), found.probability.tolist(), found.answered.tolist(), attention, strict=True)
        return [
            {
                "label": label,
                "probability": dict(zip(classes, probability, strict=True)),
                "answered": answered,
                "attention": attended,
            }
            for label, probability, answered, attended in each
        ]
    value, deviation = model.predictions_of(made)
    return [
        {"value": number, "deviation": spread}
        for number, spread in zip(value.tolist(), deviation.tolist(), strict=True)
    ]


def create_app(options: ServiceOptions) -> Any:
    """The service as an ASGI application (a `fastapi.FastAPI`).

    Raises:
        MissingExtraError: FastAPI is not installed.
        RegardError: a learner that cannot be loaded.
    """
    fastapi = import_extra("fastapi", "serve")
    responses = import_extra("fastapi.responses", "serve")
    service = _Service(options)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        service.batcher.close()

    app = fastapi.FastAPI(title=f"Regard: {options.learner}", docs_url=None, redoc_url=None, lifespan=lifespan)

    def refuse(status: int, message: str) -> Any:
        return responses.JSONResponse({"detail": message}, status_code=status)

    @app.middleware("http")
    async def guard(request: Any, proceed: Callable[[Any], Awaitable[Any]]) -> Any:
        """Token and size before anything is read; counts and one line of log after."""
        began = time.perf_counter()
        answer = await _refused(request, options, refuse) or await proceed(request)
        seconds = time.perf_counter() - began
        route = getattr(request.scope.get("route"), "path", "other")
        service.requests[route, answer.status_code] += 1
        service.seconds[route] += seconds
        logger.info(
            json.dumps({"method": request.method, "route": route, "status": answer.status_code, "seconds": seconds})
        )
        return answer

    @app.exception_handler(RegardError)
    async def explain(_: Any, error: RegardError) -> Any:
        status = 404 if isinstance(error, UnknownHandle) else 507 if isinstance(error, TooManyHandles) else 422
        return refuse(status, str(error))

    def require_rows(rows: Sequence[Any], what: str) -> None:
        if len(rows) > options.max_rows:
            raise fastapi.HTTPException(422, f"{len(rows)} {what}: expected at most {options.max_rows} in a request.")

    @app.post("/adapt", responses=_ERRORS)
    async def adapt(request: AdaptRequest) -> AdaptResponse:
        require_rows(request.examples, "examples")
        content = request.model_dump(exclude_none=True)
        prepared = await service.batcher.compute(lambda: service.store.prepare(content))
        await asyncio.to_thread(service.store.keep, prepared)  # on disk before the handle is given out
        model = prepared.model
        classes = model.classes_.tolist() if isinstance(model, FewShotClassifier) else None
        return AdaptResponse(handle=prepared.handle, classes=classes, n_examples=len(request.examples))

    @app.post("/predict/{handle}", responses=_ERRORS)
    async def predict(handle: str, request: PredictRequest) -> PredictResponse:
        require_rows(request.queries, "queries")
        return PredictResponse(answers=await service.batcher.ask(handle, request.queries))

    @app.delete("/handles/{handle}", responses=_ERRORS, status_code=204)
    async def delete(handle: str) -> None:
        service.store.delete(handle)

    @app.get("/health", responses=_ERRORS)
    async def health() -> dict[str, Any]:
        return {"status": "ok", "learner": str(options.learner), "handles": len(service.store)}

    @app.get("/metrics", response_class=responses.PlainTextResponse, responses=_ERRORS)
    async def metrics() -> str:
        return service.metrics()

    return app


async def _refused(request: Any, options: ServiceOptions, refuse: Callable[[int, str], Any]) -> Any:
    """An answer that refuses, or None."""
    if options.token is not None and request.url.path != "/health":
        came = request.headers.get("authorization", "")
        if not hmac.compare_digest(came.encode(), f"Bearer {options.token}".encode()):
            return refuse(401, "expected the header 'Authorization: Bearer TOKEN' with the token of this service.")
    too_large = f"expected at most {options.max_bytes} bytes: send fewer or smaller things at a time."
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > options.max_bytes:
        return refuse(413, f"the request has {length} bytes: {too_large}")
    if request.method == "POST":
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > options.max_bytes:
                return refuse(413, f"the request is longer than the limit: {too_large}")
        request._body = cast(bytes, body)  # what the routes read
    return None
