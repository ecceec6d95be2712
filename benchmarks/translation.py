"""Translation from a handful of sentence pairs: chrF and BLEU of unseen languages from 0, 10, 50 and 200 pairs.

    python benchmarks/translation.py --data FOLDER [--only languages controls captions] [--learners NAME ...]
    python benchmarks/translation.py --data FOLDER --test FILE.jsonl.gz

Queries are fixed first and exactly their normalised English is banned from every language model here. A model that ships
was trained on all of `--data`, so with `--test` no query has an English sentence of it; without `--test` the languages
are twelve of `--data`, and a trained learner has to be one that has not seen them (`--trained`). Supports of a draw are nested.
chrF2 and BLEU are sacrebleu's, per language; intervals are t over languages, and differences are paired over languages.

    languages   every method at every number of pairs, languages with a cousin in training and without apart
    controls    pairs of another language, targets shuffled, and the languages under a cipher of their letters
    captions    Multi30k: German from 50 to 1,000 pairs; with --test a file of captions, such as {"en": ..., "cs": ...}.
                "trained on captions" is the translator trained on for some minutes on the other languages' captions,
                their ciphers, and languages invented with the words of English ones
    reasons     the pair that a translation stands on is deleted, and so is a random other one

A run that was stopped is resumed by the same command. Translations stand beside the results, in translation.jsonl.gz.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    out_with_test,
    provenance,
    read_document,
    render_after,
    table,
    write_document,
)
from regard.domains.translation.baselines import (
    IBM1Translator,
    Translate,
    copy_source,
    translation_memory,
    typical_target,
    with_memory,
)
from regard.domains.translation.cipher import Cipher
from regard.domains.translation.language_model import TrigramModel
from regard.domains.translation.languages import has_cousin
from regard.domains.translation.pairs import Pair, by_language, read_pairs
from regard.domains.translation.protocol import SHOTS, Protocol, fix_queries, near_english
from regard.domains.translation.source import TrainingLanguages
from regard.domains.translation.tokens import Truecaser, normalise_english, tokenise_english, tokenise_source
from regard.evaluation.chrf import Scores, mean_scores, paired_scores, score_translations, sentence_chrf
from regard.evaluation.intervals import Interval, paired_interval
from regard.evaluation.translate import AdaptedTranslator, Decoding
from regard.learners.lexicon_translator import LexiconTranslator
from regard.nn.spelling import spell
from regard.recipes.trained import TrainedLearner
from regard.training import TrainConfig, train
from translation_by_gradient import Start

OUT = "translation.json"
DEV = ("ces", "swe", "por", "tur", "eus", "vie", "heb", "kat", "hin", "lit", "mhr", "ceb")
CAPTION_SHOTS = (50, 200, 1000)
N_QUERIES = 150
N_DRAWS = 2
BASELINES = ("copy", "typical target", "translation memory", "IBM-1", "IBM-1 with memory")
TRAINED = ("translation alone", "translation")
OF_CAPTIONS = ("fine-tuned", "trained on captions alone", "trained on captions")
STRONGEST = "IBM-1 with memory"
CONTROLS = ("own pairs", "pairs of another language", "targets shuffled", "ciphered")
CONTROLLED = ("IBM-1 with memory", "translation")
Made = Mapping[str, Translate]


def parser() -> Any:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        OUT,
        data="the folder that holds the folders tatoeba (tatoeba_88langs.jsonl.gz) and multi30k",
        test="a file of sentence pairs of unseen languages, or of captions",
        seed=0,
        only=("languages", "controls", "captions", "reasons"),
    )
    made.add_argument(
        "--learners",
        nargs="+",
        choices=(*BASELINES, *TRAINED, *OF_CAPTIONS),
        default=[*BASELINES, *TRAINED, *OF_CAPTIONS],
        help="methods",
    )
    made.add_argument(
        "--trained", type=Path, metavar="RUN", help="checkpoint of the translator instead of the one that ships"
    )
    made.add_argument("--runs", type=Path, default=Path("runs/captions"), help="where captions are trained on")
    made.add_argument("--caption-steps", type=int, default=250, help="of training on captions")
    made.add_argument("--queries", type=int, default=N_QUERIES, help="sentences per language")
    made.add_argument("--draws", type=int, default=N_DRAWS, help="supports per language")
    return made


# ---- data ------------------------------------------------------------------------------------------------------------


@dataclass
class Setting:
    """What is evaluated on, and what may be known besides.

    Args:
        protocol: languages and their queries.
        english: sentences that language models may be fitted to.
        training: languages of the training pairs.
        pairs: to train on, by language; none where nothing is trained here.
        near: by language, the share of queries with training English at cosine 0.8 or nearer.
    """

    protocol: Protocol
    english: list[str]
    training: list[str]
    pairs: Mapping[str, Sequence[Pair]] = field(default_factory=dict)
    near: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, languages: Mapping[str, Sequence[Pair]], others: Sequence[Pair], unseen: bool, n_queries: int, seed: int
    ):
        """Queries first, the ban second.

        Args:
            languages: to be evaluated on.
            others: training pairs.
            unseen: queries have no English of the training pairs, for a model is trained on them already.
            n_queries: per language.
            seed: of the choice.
        """
        known = {normalise_english(pair.target) for pair in others} if unseen else ()
        protocol = fix_queries(languages, n_queries, known, seed)
        train = protocol.training(others)
        english = protocol.english(pair.target for pair in train)
        near = {
            language: near_english([q.target for q in chosen.queries], english).count / len(chosen.queries)
            for language, chosen in protocol.languages.items()
        }
        return cls(protocol, english, sorted({pair.language for pair in train}), near=near)

    def describe(self) -> Document:
        """For the results."""
        return {
            language: {
                "queries": len(chosen.queries),
                "pairs": len(chosen.pool),
                "cousin": has_cousin(language, self.training),
                "near": round(self.near[language], 4),
                "left_out": self.protocol.left_out[language],
            }
            for language, chosen in self.protocol.languages.items()
        }


def tatoeba(arguments: Any) -> Setting:
    """Unseen languages of a file, or twelve of the training data."""
    pairs = read_pairs(arguments.data / "tatoeba" / "tatoeba_88langs.jsonl.gz")
    if arguments.test:
        tested = by_language(read_pairs(arguments.test))
        return Setting.of(tested, pairs, True, arguments.queries, arguments.seed)
    tested = {language: found for language, found in by_language(pairs).items() if language in DEV}
    return Setting.of(tested, pairs, False, arguments.queries, arguments.seed)


def captions(arguments: Any) -> Setting:
    """German captions, or those of a file; English captions of the training file are known."""
    folder = arguments.data / "multi30k"
    known = read_pairs(folder / "train.jsonl.gz", language="fr")
    if arguments.test:
        tested = by_language(read_pairs(arguments.test))
        known += read_pairs(folder / "train.jsonl.gz", language="de")
    else:
        evaluated = read_pairs(folder / "test_2016_flickr.jsonl.gz", language="de")
        tested = {"de": [*evaluated, *read_pairs(folder / "train.jsonl.gz", language="de")[:5000]]}
    setting = Setting.of(tested, known, True, arguments.queries, arguments.seed)
    setting.pairs = by_language(setting.protocol.training(known))
    return setting


# ---- methods ---------------------------------------------------------------------------------------------------------


def translators(setting: Setting, arguments: Any) -> dict[str, Translate]:
    """Methods by name; those of one name with memory reuse the answers of the one without."""
    model = TrigramModel([tokenise_english(sentence) for sentence in setting.english])
    made: dict[str, Translate] = {
        "copy": copy_source,
        "typical target": typical_target,
        "translation memory": translation_memory,
        "IBM-1": IBM1Translator(model, Truecaser.fit(setting.english)),
    }
    if set(arguments.learners) & set(TRAINED):
        made["translation"], made["translation alone"] = FewShot(arguments.trained), FewShot(arguments.trained, False)
    if "fine-tuned" in arguments.learners and setting.pairs:
        trained = TrainedLearner.shared(str(arguments.trained or "translation"))
        made["fine-tuned"] = partial(by_gradient, trained)
    if set(arguments.learners) & set(OF_CAPTIONS[1:]) and setting.pairs:
        trained = trained_on_captions(setting, arguments)
        made["trained on captions"], made["trained on captions alone"] = FewShot(trained), FewShot(trained, False)
    return made


def by_gradient(trained: TrainedLearner, pairs: Sequence[Pair], sentences: Sequence[str]) -> list[str]:
    """The translator trained on the pairs, none of which is shown: the best of `translation_by_gradient.py`."""
    return Start(trained.learner, trained.reader(), max(100, 2 * len(pairs) // 5), 1e-3).translate(pairs, sentences)


def trained_on_captions(setting: Setting, arguments: Any) -> TrainedLearner:
    """The translator after further training, of a quarter hour of one core, on captions."""
    trained = TrainedLearner.load(str(arguments.trained or "translation"))
    source = TrainingLanguages(
        setting.pairs, setting.english, lambda _: False, (0, 200), longest=20, seed=arguments.seed
    )
    config = TrainConfig(
        steps=arguments.caption_steps,
        tasks_per_step=4,
        learning_rate=4e-4,
        weight_decay=0.05,
        warmup_steps=20,
        schedule="trapezoid",
        decay_steps=arguments.caption_steps // 2,
        grad_clip=1.0,
        validate_every=10**6,
        checkpoint_every=100,
        tensorboard=False,
    )
    train(trained.learner, source, config, folder=arguments.runs)
    if isinstance(trained.learner, LexiconTranslator):
        trained.learner.remember_english(torch.tensor([spell(w) for w in tokenise_english(s)]) for s in setting.english)
    return trained


@dataclass(frozen=True)
class FewShot:
    """The trained translator as a function of pairs and sentences; it takes no pairs, too.

    Args:
        trained: it, or the path of its checkpoint; None is the one that ships.
        consensus: see `Decoding`; without it the network's likeliest sentence is taken.
    """

    trained: TrainedLearner | Path | None
    consensus: bool = True

    def read(self, support: Sequence[Pair]) -> Any:
        """The translator after these pairs."""
        trained = self.trained
        if not isinstance(trained, TrainedLearner):
            trained = TrainedLearner.shared(str(trained or "translation"))
        decoding = Decoding(consensus=self.consensus)
        return AdaptedTranslator.of(trained.learner, trained.reader(), list(support), decoding=decoding)

    def __call__(self, support: Sequence[Pair], sentences: Sequence[str]) -> list[str]:
        return [answer.text for answer in self.read(support).translate(list(sentences))]


# ---- measuring -------------------------------------------------------------------------------------------------------


class Results:
    """Scores by section, method, number of pairs and language, one per draw; resumed from the file."""

    def __init__(self, path: Path, settings: Document) -> None:
        self.path, before = path, read_document(path)
        self.document = {**before, **settings, "interval": "t over languages, of means over draws"}
        self.document.setdefault("sections", {})
        if before and {key: before.get(key) for key in settings} != settings:
            self.document["sections"] = {}
        self.translations: list[Document] = []
        beside = path.with_suffix(".jsonl.gz")
        if beside.exists() and self.document["sections"]:
            self.translations = [json.loads(line) for line in gzip.decompress(beside.read_bytes()).splitlines()]

    def measured(self, section: str, method: str, n_pairs: int) -> bool:
        return str(n_pairs) in self.document["sections"].get(section, {}).get("scores", {}).get(method, {})

    def add(self, section: str, method: str, n_pairs: int, scores: Document, seconds: float) -> None:
        found = self.document["sections"].setdefault(section, {}).setdefault("scores", {})
        found.setdefault(method, {})[str(n_pairs)] = {**scores, "seconds_per_language": round(seconds, 3)}
        write_document(self.path, self.document, indent=None)

    def keep(self, rows: Sequence[Document]) -> None:
        self.translations += rows
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in self.translations)
        self.path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))


Supports = Callable[[str, int, int], Sequence[Pair]]


def measure(
    results: Results,
    section: str,
    setting: Setting,
    made: Made,
    methods: Sequence[str],
    shots: Sequence[int],
    draws: int,
    support: Supports | None = None,
    queries: Callable[[str], Sequence[Pair]] | None = None,
    name: str = "{}",
) -> None:
    """Every method at every number of pairs on every language."""
    languages = setting.protocol.languages
    support = support or (lambda language, k, draw: languages[language].support(k, draw))
    queries = queries or (lambda language: languages[language].queries)
    for n_pairs in shots:
        chosen = [language for language in languages if len(languages[language].pool) >= n_pairs]
        answers: dict[tuple[str, str, int], tuple[list[str], float]] = {}
        for method in methods:
            label, base = name.format(method), method.removesuffix(" with memory")
            if results.measured(section, label, n_pairs) or (n_pairs == 0 and base != method):
                continue
            scores: dict[str, list[Scores]] = {}
            seconds = 0.0
            for language in chosen:
                for draw in range(1 if n_pairs == 0 else draws):
                    pairs, asked = support(language, n_pairs, draw), queries(language)
                    sentences = [pair.source for pair in asked]
                    if (base, language, draw) not in answers:
                        began = time.process_time()
                        answers[base, language, draw] = made[base](pairs, sentences), time.process_time() - began
                    given, spent = answers[base, language, draw]
                    began = time.process_time()
                    given = given if base == method else with_memory(pairs, sentences, given)
                    seconds += spent + time.process_time() - began
                    scores.setdefault(language, []).append(score_translations(given, [pair.target for pair in asked]))
                    if draw == 0 and n_pairs == 200 and section == "captions":
                        each = results.document["sections"][section].setdefault("sentence_chrf", {})
                        references = [pair.target for pair in asked]
                        each.setdefault(label, {})[language] = [
                            round(sentence_chrf(text, reference), 2)
                            for text, reference in zip(given, references, strict=True)
                        ]
                    if (
                        draw == 0
                        and n_pairs == 200
                        and section != "controls"
                        and method not in ("copy", "typical target")
                    ):
                        results.keep([{"method": label, "language": language, "translations": given}])
            count = sum(map(len, scores.values()))
            rounded = {x: [[round(v, 3) for v in s] for s in of_draws] for x, of_draws in scores.items()}
            results.add(section, label, n_pairs, rounded, seconds / max(1, count))
            print(
                section,
                label,
                n_pairs,
                mean_text(scores_of(results.document["sections"][section], label, n_pairs)),
                flush=True,
            )


def control(results: Results, setting: Setting, made: Made, methods: Sequence[str], draws: int) -> None:
    """What must take the gain away, and what must not."""
    languages = setting.protocol.languages
    names = sorted(languages)

    def of_another(language: str, k: int, draw: int) -> Sequence[Pair]:
        other = names[(names.index(language) + len(names) // 2) % len(names)]
        return languages[other].support(k, draw)

    def shuffled(language: str, k: int, draw: int) -> Sequence[Pair]:
        pairs = languages[language].support(k, draw)
        order = np.random.default_rng(draw).permutation(len(pairs))
        return [pair._replace(target=pairs[i].target) for pair, i in zip(pairs, order, strict=True)]

    ciphers = {
        language: Cipher.of([pair.source for pair in (*chosen.queries, *chosen.pool)], seed=1)
        for language, chosen in languages.items()
    }

    def ciphered(language: str, k: int, draw: int) -> Sequence[Pair]:
        return [pair._replace(source=ciphers[language](pair.source)) for pair in languages[language].support(k, draw)]

    def asked(language: str) -> Sequence[Pair]:
        return [pair._replace(source=ciphers[language](pair.source)) for pair in languages[language].queries]

    shots, run = (200,), partial(measure, results, "controls", setting, made, methods)
    run(shots, draws, name="{}, own pairs")
    run(shots, draws, of_another, name="{}, pairs of another language")
    run(shots, draws, shuffled, name="{}, targets shuffled")
    run((0, 200), draws, ciphered, asked, name="{}, ciphered")


def reasons(setting: Setting, translator: FewShot, n_sentences: int = 10, n_pairs: int = 50) -> Document:
    """Whether the pair that a translation stands on matters: it is deleted, and so is a random other one.

    Returns:
        For each language the mean change of a translation, 100 - chrF to the one of all pairs, of either deletion.
    """
    changes: Document = {}
    rng = np.random.default_rng(0)
    for language, chosen in setting.protocol.languages.items():
        support = list(chosen.support(n_pairs))
        sentences = [pair.source for pair in chosen.queries[:n_sentences]]
        of_language = []
        for sentence, answer in zip(
            sentences, translator.read(support).translate(sentences, reasons=True), strict=True
        ):
            if not answer.evidence or max(answer.evidence) <= 0:
                continue
            named = int(np.argmax(answer.evidence))
            other = int(rng.choice([i for i in range(len(support)) if i != named]))
            without = (translator(support[:i] + support[i + 1 :], [sentence])[0] for i in (named, other))
            of_language.append([100 - sentence_chrf(text, answer.text) for text in without])
        if of_language:
            changes[language] = np.round(np.mean(of_language, axis=0), 3).tolist()
    return changes


def main() -> None:
    """Measure, write, render."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    arguments.out = out_with_test(arguments, OUT)
    results = Results(arguments.out, {"seed": arguments.seed, "draws": arguments.draws, "queries": arguments.queries})
    for section in arguments.only or (
        ("languages", "controls") if arguments.test else ("languages", "controls", "captions")
    ):
        setting = captions(arguments) if section == "captions" else tatoeba(arguments)
        made_now = {"languages": setting.describe(), **provenance()}
        results.document["sections"].setdefault(section, {}).update(made_now)
        made = translators(setting, arguments)
        if section == "reasons":
            changes = reasons(setting, FewShot(arguments.trained, False))
            results.document["sections"][section]["scores"] = changes
        elif section == "controls":
            control(results, setting, made, [m for m in CONTROLLED if m in arguments.learners], 1)
        else:
            shots = CAPTION_SHOTS if section == "captions" else SHOTS
            methods = [m for m in arguments.learners if m.removesuffix(" with memory") in made]
            measure(results, section, setting, made, methods, shots, arguments.draws)
        if section == "captions":
            results.document["sections"][section]["tokens_per_query"] = {
                language: round(float(np.mean([len(tokenise_source(q.source)) for q in chosen.queries])), 2)
                for language, chosen in setting.protocol.languages.items()
            }
    write_document(arguments.out, results.document, indent=None)
    for section in results.document["sections"]:
        print(f"\n{page_of(section, results.document)}")
    render_after(arguments, SECTIONS)


# ---- pages -----------------------------------------------------------------------------------------------------------


def scores_of(section: Document, method: str, n_pairs: int) -> dict[str, Scores]:
    """The mean over draws of each language."""
    found = section["scores"].get(method, {}).get(str(n_pairs), {})
    return {
        language: Scores(*np.mean(of_draws, axis=0).tolist())
        for language, of_draws in found.items()
        if language != "seconds_per_language"
    }


def mean_text(scores: Mapping[str, Scores]) -> str:
    """Both metrics with their intervals; empty where nothing was measured."""
    if not scores:
        return ""
    return " / ".join(_mean(value) for value in mean_scores(scores).values())


def _mean(value: Interval | float) -> str:
    return f"{value.mean:.1f} ± {value.half_width:.1f}" if isinstance(value, Interval) else f"{value:.1f}"


def difference_text(a: Mapping[str, Scores], b: Mapping[str, Scores]) -> str:
    """Paired, with bounds."""
    if len([language for language in a if language in b]) < 2:
        return ""
    return " / ".join(f"{d.mean:+.2f} [{d.low:+.2f}, {d.high:+.2f}]" for d in paired_scores(a, b).values())


def page_of(name: str, document: Document) -> str:
    """One section as Markdown."""
    section = document["sections"].get(name)
    if not section or "scores" not in section:
        return "Not measured yet."
    pages = {"languages": languages_page, "controls": controls_page, "captions": captions_page, "reasons": reasons_page}
    return f"{pages[name](section)}\n\nMade by {made_by(section)} Seed {document['seed']}."


def languages_page(section: Document) -> str:
    """Methods by pairs, cousins apart, differences to the strongest baseline, and steps."""
    shots = sorted({int(k) for by_pairs in section["scores"].values() for k in by_pairs})
    methods = [m for m in (*BASELINES, *TRAINED) if m in section["scores"]]
    facts = section["languages"]
    near = np.mean([fact["near"] for fact in facts.values()])
    lines = [
        f"{len(facts)} languages, {sum(fact['queries'] for fact in facts.values()):,} sentences: {', '.join(facts)}. No training "
        f"English equals one of theirs; {near:.0%} have one at cosine 0.8 or nearer. chrF / BLEU from so many pairs:",
        table(
            ["method", *map(str, shots), "CPU s per language at most"],
            [
                [
                    method,
                    *(mean_text(scores_of(section, method, k)) for k in shots),
                    f"{max(of['seconds_per_language'] for of in section['scores'][method].values()):.1f}",
                ]
                for method in methods
            ],
        ),
        f"From {shots[-1]} pairs, by whether a training language is of the same branch, and the difference to *{STRONGEST}*, paired:",
    ]
    rows = []
    for method in methods:
        scores = scores_of(section, method, shots[-1])
        groups = [{x: s for x, s in scores.items() if facts[x]["cousin"] is cousin} for cousin in (True, False)]
        against = scores_of(section, STRONGEST, shots[-1]) if method != STRONGEST else {}
        rows.append([method, *map(mean_text, groups), difference_text(scores, against)])
    counts = [sum(fact["cousin"] is cousin for fact in facts.values()) for cousin in (True, False)]
    lines.append(table(["method", f"cousin ({counts[0]})", f"none ({counts[1]})", "difference"], rows))
    steps = [
        f"- {method}, {b} against {a} pairs: {difference_text(scores_of(section, method, b), scores_of(section, method, a))}"
        for method in methods
        if method in (STRONGEST, *TRAINED)
        for a, b in pairwise(shots)
        if str(a) in section["scores"][method] and str(b) in section["scores"][method]
    ]
    return "\n\n".join([*lines, "Each step, paired over languages:", "\n".join(steps)])


def controls_page(section: Document) -> str:
    """What each control leaves."""
    rows = []
    for method in CONTROLLED:
        own = scores_of(section, f"{method}, own pairs", 200)
        for name in CONTROLS:
            scores = scores_of(section, f"{method}, {name}", 200)
            if scores:
                change = "" if name == CONTROLS[0] else difference_text(scores, own)
                rows.append([method, name, mean_text(scores), change])
    return "From 200 pairs, chrF / BLEU, and the difference to their own pairs:\n\n" + table(
        ["method", "support", "score", "difference"], rows
    )


def captions_page(section: Document) -> str:
    """One language, so no interval over languages: draws stand apart."""
    tokens = section["tokens_per_query"]
    lines = []
    for language, fact in section["languages"].items():
        shots = sorted({int(k) for by_pairs in section["scores"].values() for k in by_pairs})
        rows = []
        for method, by_pairs in section["scores"].items():
            cells, speed = [], []
            for k in shots:
                found = by_pairs.get(str(k), {}).get(language, [])
                cells.append("; ".join(f"{chrf:.1f} / {bleu:.1f}" for chrf, bleu in found))
                if found:
                    speed.append(
                        fact["queries"] * tokens[language] / max(by_pairs[str(k)]["seconds_per_language"], 1e-3)
                    )
            rows.append([method, *cells, f"{min(speed):,.0f}"])
        lines.append(
            f"{language}: {fact['queries']} captions, chrF / BLEU of each draw; {fact['near']:.0%} have a training caption at "
            "cosine 0.8 or nearer:\n\n"
            + table(["method", *(f"{k} pairs" for k in shots), "source tokens per CPU s"], rows)
        )
        each = {method: of[language] for method, of in section.get("sentence_chrf", {}).items() if language in of}
        ours = [method for method in (*TRAINED, *OF_CAPTIONS[1:]) if method in each]
        others = [m for m in ("translation memory", "IBM-1", STRONGEST, "fine-tuned", *ours[:1]) if m in each]
        if ours:
            rows = []
            for method in ours:
                found = [paired_interval(each[method], each[other]) for other in others]
                rows.append([method, *(f"{d.mean:+.1f} [{d.low:+.1f}, {d.high:+.1f}]" for d in found)])
            lines.append(
                "Difference of the mean chrF of sentences, paired over sentences, from 200 pairs (first draw):\n\n"
                + table(["method", *(f"to {other}" for other in others)], rows)
            )
    return "\n\n".join(lines)


def reasons_page(section: Document) -> str:
    """Deleting the named pair against a random one."""
    named, other = map(list, zip(*section["scores"].values(), strict=True))
    difference = paired_interval(named, other)
    return (
        f"Of translations from 50 pairs, deleting the pair that a translation stands on most changes it by {np.mean(named):.1f} "
        f"chrF, and deleting a random other one by {np.mean(other):.1f}; difference {difference.mean:+.1f} "
        f"[{difference.low:+.1f}, {difference.high:+.1f}], paired over {len(named)} languages."
    )


SECTIONS = [
    Section(f"translation_{name}", OUT, partial(page_of, name))
    for name in ("languages", "controls", "captions", "reasons")
]

if __name__ == "__main__":
    main()
