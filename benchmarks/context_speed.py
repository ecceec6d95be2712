"""Predictions a second of the two-call attention, against `nn.TransformerEncoder` with a mask: the same weights, the same answers.

    python benchmarks/context_speed.py [--turns 21] [--runs-per-turn 2]

100 context and 100 query rows, d = 128, 8 heads, 6 pre-norm layers, 16 tasks, single precision. The peer runs one square
of 200 rows with a mask that hides queries; ours runs `encode` and `read`. Before the clock starts both must agree. All
contenders run in one process in turns, so that a busy moment hits all alike; the medians over the turns count, and the
ratio is the median of the ratios within a turn. "answer" is a forward without gradients; "train" is forward and backward;
"again" is a second batch of queries against the context that was kept, which the peer has to compute again.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from common import (
    Document,
    Section,
    argument_parser,
    interleaved,
    made_by,
    provenance,
    render_after,
    table,
    times_as_fast,
    write_document,
)
from regard.nn.context import ContextTransformer

N_TASKS, N_CONTEXT, N_QUERY, D, N_HEADS, N_LAYERS, D_FEED = 16, 100, 100, 128, 8, 6, 512
Run = Callable[[], Tensor]


class Ours(nn.Module):
    """Two calls."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = ContextTransformer(D, N_LAYERS, N_HEADS, D_FEED)

    def forward(self, context: Tensor, query: Tensor) -> Tensor:
        weight = context.new_ones(context.shape[:2])
        return self.transformer.read(self.transformer.encode(context, weight), query)


class Peer(nn.Module):
    """torch's own layers, one masked square."""

    def __init__(self, ours: ContextTransformer) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(D, N_HEADS, D_FEED, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, N_LAYERS, nn.LayerNorm(D), enable_nested_tensor=False)
        hidden = torch.arange(N_CONTEXT + N_QUERY) >= N_CONTEXT
        self.register_buffer("mask", hidden.expand(len(hidden), -1).clone())
        with torch.no_grad():
            for mine, other in zip(ours.layers, self.encoder.layers, strict=True):
                a, b = mine.attention, other.self_attn
                b.in_proj_weight.copy_(torch.cat([a.query.weight, a.key.weight, a.value.weight]))
                b.in_proj_bias.copy_(torch.cat([a.query.bias, torch.zeros(D), a.value.bias]))
                b.out_proj.load_state_dict(a.out.state_dict())
                other.linear1.load_state_dict(mine.feed[0].state_dict())
                other.linear2.load_state_dict(mine.feed[2].state_dict())
                other.norm1.load_state_dict(mine.attention_norm.state_dict())
                other.norm2.load_state_dict(mine.feed_norm.state_dict())
            self.encoder.norm.load_state_dict(ours.norm.state_dict())

    def forward(self, context: Tensor, query: Tensor) -> Tensor:
        return self.encoder(torch.cat([context, query], 1), mask=self.mask)[:, N_CONTEXT:]


def answering(model: nn.Module, context: Tensor, query: Tensor) -> Run:
    def run() -> Tensor:
        with torch.no_grad():
            return model(context, query)

    return run


def training(model: nn.Module, context: Tensor, query: Tensor) -> Run:
    def run() -> Tensor:
        model.zero_grad()
        out = model(context, query)
        out.square().mean().backward()
        return out.detach()

    return run


def predicting_again(ours: Ours, context: Tensor, query: Tensor) -> Run:
    with torch.no_grad():
        kept = ours.transformer.encode(context, context.new_ones(context.shape[:2]))

    def run() -> Tensor:
        with torch.no_grad():
            return ours.transformer.read(kept, query)

    return run


def contenders(compiled: bool, device: str = "cpu") -> dict[str, dict[str, Run]]:
    """Every contender of each kind of work, warm, and its answers compared with the peer's."""
    torch.manual_seed(0)
    ours = Ours().to(device)
    peer = Peer(ours.transformer).to(device)
    context, query = (torch.randn(N_TASKS, n, D).to(device) for n in (N_CONTEXT, N_QUERY))
    models: dict[str, nn.Module] = {"TransformerEncoder": peer, "regard": ours}
    if compiled:
        models |= {f"{name} compiled": torch.compile(model) for name, model in models.items()}  # type: ignore[misc]
    kinds = {
        "answer": {name: answering(model.eval(), context, query) for name, model in models.items()},
        "train": {name: training(model, context, query) for name, model in models.items()},
    }
    kinds["again"] = {
        "TransformerEncoder": kinds["answer"]["TransformerEncoder"],
        "regard": predicting_again(ours, context, query),
    }
    for kind, runs in kinds.items():
        expected = runs["TransformerEncoder"]()
        for name, run in runs.items():
            gap = (run() - expected).abs().max().item()
            if gap > 1e-4:
                raise SystemExit(f"{name} ({kind}) differs from the peer by {gap}")
            print(f"{kind:8} {name:28} agrees to {gap:.1e}", flush=True)
    return kinds


def report(seconds: dict[tuple[str, str], list[float]]) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds of one run: median and quartiles; and how many times as fast as the peer, turn by turn."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for kind in dict.fromkeys(kind for kind, _ in seconds):
        of_kind = {name: values for (k, name), values in seconds.items() if k == kind}
        times = times_as_fast(of_kind, "TransformerEncoder")
        summary[kind] = {
            name: {
                "ms": round(1000 * median(values), 2),
                "low": round(1000 * sorted(values)[len(values) // 4], 2),
                "high": round(1000 * sorted(values)[3 * len(values) // 4], 2),
                "times": round(times[name], 2),
            }
            for name, values in of_kind.items()
        }
    return summary


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(__doc__, SECTIONS, "context_speed.json")
    made.add_argument("--turns", type=int, default=21)
    made.add_argument("--runs-per-turn", type=int, default=2, help="of each contender")
    made.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    return made


def main() -> None:
    """Measure, print, write."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    runs = {
        (kind, name): run for kind, of_kind in contenders(arguments.compile).items() for name, run in of_kind.items()
    }
    seconds = interleaved(runs, arguments.turns, repeats=dict.fromkeys(runs, arguments.runs_per_turn))
    summary = report(seconds)
    print(json.dumps(summary, indent=2))
    made = provenance()
    document = {
        "task": f"{N_TASKS} tasks of {N_CONTEXT} + {N_QUERY} rows, d {D}, {N_HEADS} heads, {N_LAYERS} layers, 1 thread",
        "settings": {key: value for key, value in vars(arguments).items() if key != "out"},
        **made,
        "machine": {**made["machine"], "load": os.getloadavg()[0]},
        "results": summary,
        "milliseconds": {
            kind: {name: [round(1000 * v, 3) for v in values] for (k, name), values in seconds.items() if k == kind}
            for kind in summary
        },
    }
    write_document(arguments.out, document)
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """Two calls against one masked square."""
    rows = [
        [kind, name, f"{r['ms']:.0f}", f"{r['times']:.2f}"]
        for kind, of_kind in document["results"].items()
        for name, r in of_kind.items()
    ]
    return "\n\n".join(
        [
            "## Context to itself, queries to the context: against `nn.TransformerEncoder` with a mask",
            f"{document['task']}; the same weights, the same answers. `again`: more queries against a context that was kept.",
            table(["what", "who", "median ms", "times the peer"], rows),
            made_by(document),
        ]
    )


SECTIONS = (Section("context_speed", "context_speed.json", section),)


if __name__ == "__main__":
    main()
