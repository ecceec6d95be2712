"""The model `sentences` beside SetFit with its defaults, on the same body and the same sentences.

    pip install setfit
    python benchmarks/peer_setfit.py --data FOLDER [--episodes 10 3]

5-way 1-shot and 5-shot of the test classes of CLINC150, BANKING77 and HuffPost, 20 queries per class. SetFit tunes the whole body
for every task, in seconds to minutes, so there are few episodes; differences are paired and pooled over the corpora. What SetFit
gave is kept in --out: a second run adds tasks and measures only `sentences` again.
Writes benchmarks/results/sentences_setfit.json.

Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts", arXiv:2209.11055.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before PyTorch is loaded
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

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
from regard import FewShotClassifier
from regard.domains.texts.corpora import LabelledTexts
from regard.domains.texts.sentences import SOURCES
from regard.evaluation.intervals import mean_interval
from regard.nn.pretrained.bodies import find_body
from regard.sampling import Dataset, EpisodeSampler

CORPORA = ("clinc150", "banking77", "huffpost")
N_QUERY = 20


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "sentences_setfit.json",
        data="folders clinc150, banking77, huffpost",
        seed=1,
        only=CORPORA,
    )
    made.add_argument("--episodes", type=int, nargs=2, default=(10, 3), help="of 1-shot and of 5-shot, per corpus")
    return made


def main() -> None:
    """Both on every task, written after each."""
    arguments = parser().parse_args()
    document: Document = {**provenance(seed=arguments.seed, interval="95%, over episodes, Student's t"), "episodes": []}
    before = {(e["data"], e["n_shot"], e["number"]): e for e in read_document(arguments.out).get("episodes", ())}
    sources = {name: SOURCES[name](arguments.data / name)["test"] for name in arguments.only or CORPORA}
    for n_shot, n_episodes in zip((1, 5), arguments.episodes, strict=True):
        for number in range(n_episodes):
            for name, texts in sources.items():
                known = before.get((name, n_shot, number))
                document["episodes"].append(one_task(name, texts, n_shot, number, arguments.seed, known))
                print(document["episodes"][-1], flush=True)
                write_document(arguments.out, document)
    render_after(arguments, SECTIONS)


def one_task(name: str, texts: LabelledTexts, n_shot: int, number: int, seed: int, known: Document | None) -> Document:
    """Accuracy and seconds of both on one task; SetFit's from `known` where that was measured before."""
    dataset = Dataset.of(torch.arange(len(texts)), texts.labels)
    rows = EpisodeSampler(dataset, 5, n_shot, N_QUERY, seed=seed).rows([number])
    support = [texts.texts[i] for i in rows.support[0].tolist()]
    query = [texts.texts[i] for i in rows.query[0].tolist()]
    y, query_y = rows.support_y[0].tolist(), rows.query_y[0].numpy()
    ours = FewShotClassifier("sentences").fit(support, y)  # loads the body
    began = time.process_time()
    ours.fit(support, y)
    our_seconds = time.process_time() - began
    our_accuracy = float((ours.predict(query) == query_y).mean())
    if known is None:
        peer, peer_seconds = setfit(support, y)
        peer_accuracy = float((np.array(peer.predict(query, as_numpy=True)) == query_y).mean())
    else:
        peer_accuracy, peer_seconds = known["accuracy"]["SetFit"], known["fit_cpu_seconds"]["SetFit"]
    return {
        "data": name,
        "n_shot": n_shot,
        "number": number,
        "accuracy": {"sentences": our_accuracy, "SetFit": peer_accuracy},
        "fit_cpu_seconds": {"sentences": our_seconds, "SetFit": peer_seconds},
    }


def setfit(texts: Sequence[str], y: Sequence[int]) -> tuple[Any, float]:
    """A model fitted by SetFit's defaults, and the seconds of processor time that took."""
    from datasets import Dataset as Table
    from setfit import SetFitModel, Trainer, TrainingArguments

    model = SetFitModel.from_pretrained(str(find_body("minilm").folder))
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(output_dir=folder, report_to="none", show_progress_bar=False)
        table_ = Table.from_dict({"text": list(texts), "label": list(y)})
        began = time.process_time()
        Trainer(model=model, args=settings, train_dataset=table_).train()
        return model, time.process_time() - began


def section(document: Document) -> str:
    """Both by corpus and shots, and pooled differences."""
    episodes = document["episodes"]
    rows, lines = [], []
    for n_shot in sorted({e["n_shot"] for e in episodes}):
        some = [e for e in episodes if e["n_shot"] == n_shot]
        for name in dict.fromkeys(e["data"] for e in some):
            own = [e for e in some if e["data"] == name]
            means = [100 * np.mean([e["accuracy"][m] for e in own]) for m in ("sentences", "SetFit")]
            spent = [np.mean([e["fit_cpu_seconds"][m] for e in own]) for m in ("sentences", "SetFit")]
            rows.append(
                [name, f"5-way {n_shot}-shot", len(own), *(f"{v:.1f}" for v in means), *(f"{v:.2f}" for v in spent)]
            )
        pooled = mean_interval(100 * np.array([e["accuracy"]["sentences"] - e["accuracy"]["SetFit"] for e in some]))
        lines.append(
            f"- {n_shot}-shot, pooled over {len(some)} tasks: {pooled.mean:+.2f} points [{pooled.low:+.2f}, {pooled.high:+.2f}]"
        )
    heads = ["data", "episodes", "number", "sentences", "SetFit", "sentences, s to fit", "SetFit, s to fit"]
    title = "## Sentences beside SetFit, same body, SetFit's defaults"
    return "\n".join([title, "", table(heads, rows), "", "Paired differences:", "", *lines, "", made_by(document)])


SECTIONS = (Section("sentences_setfit", "sentences_setfit.json", section),)


if __name__ == "__main__":
    main()
