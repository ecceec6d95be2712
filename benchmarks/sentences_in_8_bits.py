"""What 8 bits of the body cost: `sentences` as its page has it, beside the model itself, on the same episodes.

    python benchmarks/sentences_in_8_bits.py --data FOLDER [--episodes 300] [--rows 30]

FOLDER holds clinc150/, banking77/ and huffpost/. Test classes, never trained on: at most --rows texts of each, encoded once
by the model and once by the encoder of the page, which has the same layers with weights in 8 bits; the head is the same.
Paired differences of accuracy over episodes. Needs the extras `pretrained` and `export`. Writes
benchmarks/results/sentences_in_8_bits.json.
"""

from __future__ import annotations

import argparse

import torch

from common import Document, Section, argument_parser, command_line, made_by, render_after, summarised, table
from regard.domains.texts.sentences import SOURCES
from regard.evaluation import Result, compare, evaluate, write_results
from regard.export.sentence_body import SentenceFunction
from regard.nn.pretrained.text import PretrainedText
from regard.recipes.trained import TrainedLearner
from regard.sampling import Dataset, EpisodeSampler
from sentences import Column, head_on

CORPORA = ("clinc150", "banking77", "huffpost")
KINDS = ((5, 1), (5, 5))
WHOLE, PAGE = "float32", "page, 8 bits"
_AT_ONCE = 32


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__, SECTIONS, "sentences_in_8_bits.json", data="folders clinc150, banking77, huffpost", seed=1
    )
    made.add_argument("--episodes", type=int, default=300)
    made.add_argument("--rows", type=int, default=30, help="texts of each class, at most")
    return made


def main() -> None:
    """Encode, evaluate, compare, write."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    trained = TrainedLearner.load("sentences")
    encoder, reader = trained.learner.encoder, trained.reader()
    assert isinstance(encoder, PretrainedText)
    in_8_bits = SentenceFunction(encoder).eval()
    results: list[Result] = []
    for corpus in CORPORA:
        texts = SOURCES[corpus](arguments.data / corpus)["test"].at_most(arguments.rows)
        with torch.no_grad():
            items = [reader(texts.texts[i : i + _AT_ONCE]) for i in range(0, len(texts), _AT_ONCE)]
            columns = {WHOLE: [encoder(x) for x in items], PAGE: [in_8_bits(x)[0] for x in items]}
        dataset = Dataset.of({name: torch.cat(z) for name, z in columns.items()}, texts.labels)
        for n_way, n_shot in KINDS:
            source = EpisodeSampler(dataset, n_way, n_shot, 10, seed=arguments.seed)
            for name in columns:
                learner = head_on(Column(name, encoder.n_features), trained).eval()
                results.append(evaluate(learner, source, arguments.episodes, name=name, data=corpus, batch=8))
    groups = [results[i : i + 2] for i in range(0, len(results), 2)]
    comparisons = [pair for group in groups for pair in compare(group, ["accuracy"])]
    write_results(arguments.out, results, comparisons, command=command_line(), raw=True)
    render_after(arguments, SECTIONS)


def section(document: Document) -> str:
    """A row per corpus and kind of episode."""
    results, comparisons = summarised(document)
    rows = []
    for i, pair in enumerate(comparisons):
        whole, page = (r.metrics["accuracy"].mean for r in results[2 * i : 2 * i + 2])
        sign = 1 if pair.a == PAGE else -1
        low, high = sorted((100 * sign * pair.difference.low, 100 * sign * pair.difference.high))
        cells = [f"{100 * whole:.2f}", f"{100 * page:.2f}", f"{100 * sign * pair.difference.mean:+.2f}"]
        about = f"{results[2 * i].data}, {results[2 * i].n_way}-way {results[2 * i].n_shot}-shot"
        rows.append([about, *cells, f"{low:+.2f} to {high:+.2f}"])
    return "\n\n".join(
        [
            "## Sentences in 8 bits",
            "The page of sentences holds the body's weights in 8 bits, each row with a scale of its own, and computes in "
            f"single precision. {results[0].episodes} tasks each of test classes, the same for both; accuracy in %.",
            table(["tasks", WHOLE, "page", "page less float32", "95% interval"], rows),
            made_by(document),
        ]
    )


SECTIONS = (Section("export_sentences", "sentences_in_8_bits.json", section),)


if __name__ == "__main__":
    main()
