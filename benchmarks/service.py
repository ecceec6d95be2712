"""`regard serve` under load, killed at random moments, and under generated requests.

    python benchmarks/service.py [--only load generated kills] [--clients 200] [--kills 20] [--cases 1000]

Starts the service for `tables` on the loopback. Load: each client adapts to its own small table, then asks it five times;
every answer is compared with the estimator's. Kills: clients adapt and ask while the service is killed (SIGKILL) at a
random moment and started again; every handle that was acknowledged must answer as before. Generated requests: schemathesis
on the service's own OpenAPI description; a status of 500 or more is a failure. Writes benchmarks/results/service.json.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    provenance,
    read_document,
    render_after,
    table,
    write_document,
)
from regard.estimators import FewShotClassifier

N_QUESTIONS = 5
PARTS = ("load", "generated", "kills")


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "service.json", seed=0, only=PARTS)
    made.add_argument("--clients", type=int, default=200, help="clients at once (default 200)")
    made.add_argument("--kills", type=int, default=20, help="kills under load (default 20)")
    made.add_argument("--cases", type=int, default=1000, help="generated requests (default 1000)")
    return made


class Server:
    """`regard serve tables` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start, and wait until it answers."""
        httpx = import_module("httpx")
        command = [
            sys.executable,
            "-m",
            "regard",
            "serve",
            "tables",
            "--port",
            str(self.port),
            "--folder",
            str(self.folder),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                httpx.get(f"{self.url}/health", timeout=5)
                return self.process
            except httpx.TransportError:
                time.sleep(0.1)
        raise SystemExit("the service did not start within a minute")

    def cpu_seconds(self) -> float:
        """That it has computed so far, by Linux's own count."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """As a power cut."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def task(number: int) -> tuple[list[list[float]], list[str], list[list[float]]]:
    """Rows, labels and queries of one client."""
    random_numbers = np.random.default_rng(number)
    rows = random_numbers.normal(size=(10, 3)) + np.arange(10)[:, None] % 2
    return rows.round(4).tolist(), ["even", "odd"] * 5, random_numbers.normal(size=(4, 3)).round(4).tolist()


async def under_load(server: Server, n_clients: int) -> Document:
    """Every client adapts, then asks; seconds of each request, and answers that differ from the estimator's."""
    httpx = import_module("httpx")
    seconds: list[float] = []
    adapting: list[float] = []
    wrong = lost = 0

    async def one(number: int) -> list[dict[str, Any]]:
        # A client of its own: one pool of 200 connections looks through all of them for each request.
        async with httpx.AsyncClient(base_url=server.url, timeout=120, verify=False, trust_env=False) as client:
            return await asked(client, number)

    async def asked(client: Any, number: int) -> list[dict[str, Any]]:
        nonlocal lost
        rows, labels, queries = task(number)
        answers: list[dict[str, Any]] = []
        began = time.perf_counter()
        handle = (await client.post("/adapt", json={"examples": rows, "labels": labels})).json()["handle"]
        adapting.append(time.perf_counter() - began)
        for _ in range(N_QUESTIONS):
            began = time.perf_counter()
            reply = await client.post(f"/predict/{handle}", json={"queries": queries})
            seconds.append(time.perf_counter() - began)
            if reply.status_code == 200:
                answers.append(reply.json()["answers"])
            else:
                lost += 1
        return answers

    began, spent = time.perf_counter(), server.cpu_seconds()
    answers = await asyncio.gather(*(one(number) for number in range(n_clients)))
    whole = time.perf_counter() - began
    for number, found in enumerate(answers):
        rows, labels, queries = task(number)
        expected = FewShotClassifier("tables").fit(rows, labels).predict_proba(queries)
        for answer in found:
            got = [[each["probability"][name] for name in ("even", "odd")] for each in answer]
            wrong += not np.allclose(got, expected, atol=1e-5)
    return {
        "clients": n_clients,
        "questions": n_clients * N_QUESTIONS,
        "lost": lost,
        "wrong": wrong,
        "seconds": whole,
        "p50": float(np.quantile(seconds, 0.5)),
        "p99": float(np.quantile(seconds, 0.99)),
        "adapt_p99": float(np.quantile(adapting, 0.99)),
        "server_cpu_seconds": server.cpu_seconds() - spent,
    }


async def under_kills(server: Server, n_kills: int, seed: int) -> Document:
    """Handles that were acknowledged and do not answer as before after a kill."""
    httpx = import_module("httpx")
    dice = random.Random(seed)
    acknowledged: dict[str, int] = {}
    number = 10_000

    async def adapt_on(client: Any) -> None:
        nonlocal number
        while True:
            number += 1
            mine = number
            rows, labels, _ = task(mine)
            reply = await client.post("/adapt", json={"examples": rows, "labels": labels})
            if reply.status_code == 200:
                acknowledged[reply.json()["handle"]] = mine

    missing = different = 0
    for _ in range(n_kills):
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            adapting = [asyncio.create_task(adapt_on(client)) for _ in range(4)]
            await asyncio.sleep(dice.uniform(0.05, 0.6))
            server.kill()
            await asyncio.gather(*adapting, return_exceptions=True)
        server.start()
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        for handle, mine in acknowledged.items():
            rows, labels, queries = task(mine)
            reply = await client.post(f"/predict/{handle}", json={"queries": queries})
            if reply.status_code != 200:
                missing += 1
                continue
            expected = FewShotClassifier("tables").fit(rows, labels).predict(queries).tolist()
            different += [answer["label"] for answer in reply.json()["answers"]] != expected
    return {"kills": n_kills, "acknowledged": len(acknowledged), "missing": missing, "different": different}


def under_generated_requests(server: Server, n_cases: int, seed: int) -> Document:
    """Requests that schemathesis makes of the description; statuses by how often.

    Every second one gets further than chance would take it: a question goes to a handle that is there, and examples have as
    many labels as there are of them.
    """
    schemathesis = import_module("schemathesis")
    hypothesis = import_module("hypothesis")
    httpx = import_module("httpx")
    rows, labels, _ = task(0)
    known = httpx.post(f"{server.url}/adapt", json={"examples": rows, "labels": labels}).json()["handle"]
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations()]
    statuses: dict[str, int] = {}
    failures: list[str] = []

    def helped(case: Any) -> Any:
        if case.method == "POST" and case.path.endswith("{handle}"):
            case.path_parameters["handle"] = known
        body = case.body
        if isinstance(body, dict) and isinstance(body.get("examples"), list) and isinstance(body.get("labels"), list):
            n, given = len(body["examples"]), body["labels"] or ["even", "odd"]
            body["labels"] = [given[i % len(given)] for i in range(n)]
            if isinstance(body.get("weights"), list) and body["weights"]:
                body["weights"] = [body["weights"][i % len(body["weights"])] for i in range(n)]
        return case

    def ask(case: Any) -> None:
        number = sum(statuses.values())
        reply = (helped(case) if number % 2 else case).call(timeout=60)
        statuses[str(reply.status_code)] = statuses.get(str(reply.status_code), 0) + 1
        if reply.status_code >= 500 and reply.status_code != 507:
            failures.append(f"{case.method} {case.formatted_path}: {reply.status_code}")

    settings = hypothesis.settings(
        max_examples=-(-n_cases // 3),  # two routes of GET have one request each
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    # A route whose requests are few is asked again under another seed, until there are enough in all.
    for turn in range(4):
        for operation in operations if turn == 0 else operations[:3]:
            if turn == 0 or sum(statuses.values()) < n_cases:
                hypothesis.seed(seed + turn)(settings(hypothesis.given(operation.as_strategy())(ask)))()
    return {"cases": sum(statuses.values()), "statuses": statuses, "failures": failures[:20]}


def main() -> None:
    """Run, write; parts that are not run keep their results."""
    arguments = parser().parse_args()
    wanted = arguments.only or PARTS
    document = read_document(arguments.out)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        server = Server(Path(folder))
        measures: dict[str, Callable[[], Document]] = {
            "load": lambda: asyncio.run(under_load(server, arguments.clients)),
            "generated": lambda: under_generated_requests(server, arguments.cases, arguments.seed),
            "kills": lambda: asyncio.run(under_kills(server, arguments.kills, arguments.seed)),
        }
        try:
            for name in (name for name in PARTS if name in wanted):
                document[name] = measures[name]()
                print(name, document[name], flush=True)
        finally:
            server.kill()
    write_document(arguments.out, {**document, **provenance(seed=arguments.seed)})
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """What happened."""
    load, kills, generated = (document[key] for key in ("load", "kills", "generated"))
    rows = [
        [
            f"{load['clients']} clients, {N_QUESTIONS} questions each",
            f"{load['lost']} lost, {load['wrong']} wrong of {load['questions']}",
        ],
        ["seconds per answer, median and 99th percentile", f"{load['p50']:.2f}, {load['p99']:.2f}"],
        *(
            [
                ["seconds until adapted, 99th percentile", f"{load['adapt_p99']:.2f}"],
                [
                    "CPU of the service per question, adapting included",
                    f"{1000 * load['server_cpu_seconds'] / load['questions']:.1f} ms",
                ],
            ]
            if "adapt_p99" in load
            else []
        ),
        [
            f"{kills['kills']} kills under load",
            f"{kills['missing']} missing, {kills['different']} different of {kills['acknowledged']} handles",
        ],
        [f"{generated['cases']} generated requests", f"{len(generated['failures'])} with a status of 500 or more"],
    ]
    return "\n\n".join(["## `regard serve tables`", table(["what", "result"], rows), made_by(document)])


SECTIONS = (Section("service", "service.json", section),)


if __name__ == "__main__":
    main()
