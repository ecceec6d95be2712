"""The report page: it asks nothing of the network, says what the numbers say, and escapes what users name."""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from regard.domains.base import Rendering
from regard.domains.images.render import HEAT, INK, data_uri, heat
from regard.domains.registry import find_domain
from regard.errors import DataError
from regard.evaluation.compare import compare
from regard.evaluation.confidence import Confidence, ConfidenceReport
from regard.evaluation.intervals import Interval, mean_interval
from regard.evaluation.metrics import METRICS, Calibration
from regard.evaluation.result import Result
from regard.report import (
    AttentionExample,
    ConfidenceSection,
    ConfusionMatrix,
    Figure,
    ReportContent,
    TextTable,
    TrainingCurve,
    render_report,
    write_report,
)
from regard.report.charts import Axis, points, smooth, thin
from regard.report.view import blocks, matrix

VOID = {"meta", "link", "img", "br", "hr", "input"}
NASTY = """<script>alert("1")</script>'&"""


def drawings(*leading: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*leading, 28, 28), dtype=np.uint8)


def result(learner: str, mean: float, n_way: int = 20, seed: int = 0) -> Result:
    rng = np.random.default_rng(seed)
    values = {m: np.clip(rng.normal(mean, 0.05, 100), 0, 1) for m in METRICS}
    calibration = Calibration(np.r_[0.0, np.full(14, 20.0)], np.linspace(0.03, 0.97, 15), np.linspace(0, 1, 15))
    intervals = {m: mean_interval(v) for m, v in values.items()}
    return Result(learner, "glyphs", n_way, 1, 5, 100, 0, False, intervals, 12.3, values, calibration)


IMAGES = find_domain("images")


def shown(pictures: NDArray[np.uint8]) -> list[Rendering]:
    return [IMAGES.render(picture) for picture in pictures]


def example(n_rows: int = 20, *, predicted: int = 1, true: int = 1, colour: bool = False) -> AttentionExample:
    rng = np.random.default_rng(1)
    support, query = drawings(n_rows, seed=2), drawings(seed=3)
    if colour:
        support, query = np.stack([support] * 3, -1), np.stack([query] * 3, -1)
    heats = rng.random((n_rows, 28, 28))
    items = [IMAGES.render(x, h) for x, h in zip(support, heats, strict=True)]
    names = [f"letter {i}" for i in range(n_rows)]
    weight = rng.dirichlet(np.ones(n_rows))
    return AttentionExample(
        IMAGES.render(query, heats[0]), items, np.arange(n_rows), names, weight, predicted, true, 0.7
    )


def curve(name: str, n: int = 500) -> TrainingCurve:
    step = np.arange(1, n + 1)
    return TrainingCurve(name, step, 3 / step, step[::50], np.linspace(0.2, 0.8, len(step[::50])), 90.0)


@cache
def content() -> ReportContent:
    results = [result("Spatial", 0.84), result("Prototypical", 0.81, seed=1), result("Twin", 0.84, seed=2)]
    few = [replace(r, n_way=5) for r in results]
    return ReportContent(
        title="It read alphabets",
        sentence="It named new drawings right **84.1% [83.5, 84.7]** of the time.",
        results=[*results, *few],
        comparisons=[*compare(results), *compare(few)],
        examples=[example(), example(predicted=2), example(25), example(colour=True)] * 3,
        faithfulness="Deleting the most attended row costs 0.6.",
        confusions=[
            ConfusionMatrix("Hebrew", np.diag([8, 9, 10]) + np.eye(3, k=1), shown(drawings(3)), ["a", "b", "c"])
        ],
        curves=[curve("Spatial"), curve("Prototypical")],
        facts={"command": "regard quickstart", "machine": "two cores"},
        stages={"training": 90.0, "evaluation": 12.0},
        caveats=["Rendered type, not handwriting."],
    )


@cache
def page() -> str:
    return render_report(content())


class Reader(HTMLParser):
    """Collects tags and checks that every one is closed in turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["script"], ["style"]):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def decode(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_no_request_leaves_the_page() -> None:
    reader = Reader(page())
    for tag, attributes in reader.tags:
        for name in ("src", "href", "srcset", "action", "poster", "xlink:href", "data"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#")), (tag, name, target)
    assert "url(" not in page() and "@import" not in page() and "//" not in re.sub(r"data:[^\"]*|// .*", "", page())
    policy = next(a["content"] for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and "default-src 'none'" in policy


def test_a_dozen_looks_stay_small() -> None:
    assert len(page().encode()) < 3_000_000


def test_links_land_and_ids_are_unique() -> None:
    tags = Reader(page()).tags
    ids = Counter(a["id"] for _, a in tags if "id" in a)
    assert set(ids.values()) == {1}
    for _, attributes in tags:
        if (attributes.get("href") or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in ids
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids


def test_every_picture_says_what_it_is() -> None:
    for tag, attributes in Reader(page()).tags:
        if tag == "img":
            assert "alt" in attributes
        if tag == "span" and (attributes.get("class") or "").startswith("drawing"):
            assert attributes.get("role") == "img" and attributes.get("aria-label")
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")


def test_names_are_escaped() -> None:
    nasty = replace(
        content(),
        title=NASTY,
        sentence=NASTY,
        learner=NASTY,
        results=[replace(content().results[0], learner=NASTY, data=NASTY)],
        comparisons=[],
        curves=[curve(NASTY)],
        examples=[replace(example(), names=[NASTY] * 20)],
        confusions=[ConfusionMatrix(NASTY, np.eye(2), shown(drawings(2)), [NASTY] * 2)],
        facts={NASTY: NASTY},
        stages={NASTY: 1.0},
        caveats=[NASTY],
        faithfulness=NASTY,
    )
    html = render_report(nasty)
    assert "<script>alert" not in html
    assert Reader(html).words.count(NASTY) > 10


def test_numbers_of_the_results_are_on_the_page() -> None:
    words = Reader(page()).words
    for one in content().results:
        accuracy = one.metrics["accuracy"]
        assert f"{accuracy.mean:.1%} [{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]" in words
        assert f"{one.metrics['ece'].mean:.3f}" in words
    assert "20-way 1-shot" in words and "5-way 1-shot" in words


def test_right_and_wrong_are_told_in_words() -> None:
    one = Reader(render_report(replace(content(), examples=[example(predicted=2)])))
    assert "wrong letter 2 probability 70%; it was letter 1" in one.words
    assert "right letter 1 probability 70%" in Reader(render_report(replace(content(), examples=[example()]))).words


def test_ties_are_told_as_ties() -> None:
    told = {(d.a, d.b): d for d in blocks(content())[0].differences}
    assert told["Spatial", "Twin"].tie and told["Spatial", "Twin"].verdict == "a tie"
    assert told["Spatial", "Prototypical"].verdict == "Spatial is better"


def test_differences_are_told_from_the_learner_of_the_page() -> None:
    """Turned around, the same difference has the opposite sign, the bounds exchanged and the same verdict."""
    ours = {d.b: d for d in blocks(content())[0].differences}["Prototypical"]
    theirs = {d.b: d for d in blocks(replace(content(), learner="Prototypical"))[0].differences}["Spatial"]
    assert (ours.a, theirs.a) == ("Spatial", "Prototypical")
    assert ours.verdict == theirs.verdict
    assert ours.whisker.mean.lstrip("+\N{MINUS SIGN}") == theirs.whisker.mean.lstrip("+\N{MINUS SIGN}")
    assert ours.whisker.mean[0] == "+" and theirs.whisker.mean[0] == "\N{MINUS SIGN}"
    low, high = re.findall(r"[\d.]+", ours.whisker.interval)
    assert theirs.whisker.interval == f"[\N{MINUS SIGN}{high}, \N{MINUS SIGN}{low}]"


def test_whiskers_stay_within_their_axis_and_in_order() -> None:
    for block in blocks(content()):
        shown = [w for row in block.rows for w in row.shares] + [d.whisker for d in block.differences]
        for whisker in shown:
            assert 0 <= whisker.places[0] <= whisker.places[1] <= whisker.places[2] <= 100


def test_missing_parts_leave_no_section() -> None:
    reader = Reader(render_report(ReportContent(title="Bare", sentence="Nothing yet.")))
    assert not [tag for tag, _ in reader.tags if tag in ("section", "script", "table")]
    assert "Bare" in reader.words


def test_a_result_without_raw_values_still_fits() -> None:
    bare = replace(content().results[0], calibration=None, n_way=(5, 20), per_episode={})
    reader = Reader(render_report(replace(content(), results=[bare], comparisons=[])))
    assert "5 to 20-way 1-shot" in reader.words


def test_writing_is_rendering(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(path, content())
    assert path.read_text(encoding="utf-8") == page()
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_ink_becomes_opacity() -> None:
    image = drawings()
    decoded = np.asarray(decode(data_uri(image)).convert("RGBA"))
    assert (decoded[..., :3] == INK).all()
    assert np.abs(decoded[..., 3].astype(int) - image).max() <= 9  # half of a sixteenth


def test_colour_stays_colour() -> None:
    image = np.full((28, 28, 3), (200, 40, 90), np.uint8)
    decoded = np.asarray(decode(data_uri(image)).convert("RGB"))
    assert np.abs(decoded.astype(int) - image).max() <= 6


def test_heat_grows_with_strength() -> None:
    decoded = np.asarray(decode(heat(np.linspace(0, 1, 64).reshape(1, 64))).convert("RGBA"))
    assert (decoded[..., :3] == HEAT).all()
    assert decoded[0, 0, 3] == 0 and decoded[0, -1, 3] == 255
    assert (np.diff(decoded[0, :, 3].astype(int)) >= 0).all()


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.803, 0.847), (-3.0, 61.0), (5.0, 5.0), (0.0, 0.0), (-1e-7, 2e-7)])
def test_an_axis_holds_its_values(values: tuple[float, float]) -> None:
    axis = Axis.around(values)
    assert axis.low <= min(values) + 1e-12 and axis.high >= max(values) - 1e-12
    assert 2 <= len(axis.ticks) <= 8
    assert all(-0.01 <= axis.at(t) <= 100.01 for t in axis.ticks)


def test_axes_pass_over_what_is_not_finite() -> None:
    assert Axis.around([np.nan, 0.2, np.inf, 0.4]) == Axis.around([0.2, 0.4])
    assert Axis.up_to([]).ticks
    assert points(np.arange(3), np.array([0.0, np.nan, 1.0]), Axis.up_to([2]), Axis.up_to([1])) == "0.0,100.0 100.0,0.0"


@pytest.mark.parametrize("n", [0, 1, 79, 80, 1000])
def test_smoothing_keeps_straight_lines(n: int) -> None:
    np.testing.assert_allclose(smooth(np.full(n, 3.0)), 3.0)
    line = np.arange(n, dtype=np.float64)
    kept = slice(0, max(n - n // 80, 0))
    np.testing.assert_allclose(smooth(line)[kept], line[kept], atol=1e-9)


def test_a_diverged_curve_ends_where_it_was_last_a_number() -> None:
    lost = curve("Spatial")
    lost.loss[300:] = np.nan
    html = render_report(replace(content(), curves=[lost]))
    assert "nan" not in re.sub(r"data:[^\"]*", "", html).lower()


def test_smoothing_quietens_noise_to_the_end() -> None:
    noise = np.random.default_rng(0).normal(size=4000)
    assert smooth(noise)[50:].std() < 0.2 and abs(smooth(noise)[-1]) < 0.5


@pytest.mark.parametrize("n", [0, 1, 2, 240, 100_000])
def test_thinning_keeps_both_ends(n: int) -> None:
    kept = thin(n)
    assert len(kept) <= 240 and (np.diff(kept) > 0).all()
    assert n == 0 or (kept[0] == 0 and kept[-1] == n - 1)


def test_the_most_frequent_mistake_comes_first() -> None:
    counts = np.array([[6, 3, 1], [0, 10, 0], [5, 0, 5]])
    found = matrix(ConfusionMatrix("x", counts, shown(drawings(3)), ["a", "b", "c"]))
    assert [(m.true, m.predicted, m.share) for m in found.mixes] == [(2, 0, "50%"), (0, 1, "30%"), (0, 2, "10%")]
    assert len(found.cells) == np.count_nonzero(counts)
    assert found.summary == "3 classes, 30 queries, 70.0% correct"


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": np.ones(3)},
        {"weight": np.full(20, np.nan)},
        {"weight": np.full(20, -1.0)},
        {"support_label": np.arange(19)},
        {"predicted": 20},
        {"true": -1},
        {"support": shown(drawings(19))},
    ],
)
def test_impossible_looks_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DataError, match="expected"):
        replace(example(), **wrong)


def test_impossible_curves_and_confusions_are_refused() -> None:
    with pytest.raises(DataError, match="loss has shape"):
        replace(curve("x"), loss=np.zeros(3))
    with pytest.raises(DataError, match="matrix has shape"):
        ConfusionMatrix("x", np.eye(4), shown(drawings(3)), ["a", "b", "c"])
    with pytest.raises(DataError, match="4 pictures: expected 3"):
        ConfusionMatrix("x", np.eye(3), shown(drawings(4)), ["a", "b", "c"])


def around(mean: float) -> Interval:
    return Interval(mean, mean - 0.02, mean + 0.02)


def confidence_section() -> ConfidenceSection:
    before, after = ({"ece": around(e), "brier": around(0.3), "nll": around(0.9)} for e in (0.15, 0.04))
    report = ConfidenceReport(before, after, around(0.62), around(0.85), around(0.07), 0.913)
    return ConfidenceSection(Confidence(1.7, (0.0, 1.0, 0.0), 0.6, 0.05), report, 20, 5)


def test_how_sure_it_may_be_is_told_with_intervals_and_left_out_where_unknown() -> None:
    words = Reader(render_report(replace(content(), confidence=confidence_section()))).words
    assert (
        "temperature 1.7: on validation episodes it was overconfident" in words
        and "at most 5% of the answers shall be wrong" in words
    )
    assert "0.150 [0.130, 0.170] 0.040 [0.020, 0.060]" in words
    assert "queries of known classes answered 62.0% [60.0, 64.0]" in words
    assert "queries of unknown classes answered 15.0% [13.0, 17.0]" in words
    assert "7.0% are wrong [5.0, 9.0]" in words and "0.913" in words
    assert "Calibrated probabilities" not in Reader(page()).words


def test_what_was_refused_is_marked_and_a_stranger_has_a_name() -> None:
    stranger = replace(example(), true=None, unknown_class="letter X")
    looks = {
        "none of these too uncertain to answer (letter 1, 70%); it was letter 1": replace(example(), answered=False),
        "none of these too uncertain to answer (letter 2, 70%); it was letter 1": replace(
            example(predicted=2), answered=False
        ),
        "right: none of these it was letter X , of which it had no example": replace(stranger, answered=False),
        "wrong letter 1 probability 70%; it was letter X , none of these": stranger,
    }
    for told, one in looks.items():
        assert told in Reader(render_report(replace(content(), examples=[one]))).words
    html = render_report(replace(content(), examples=[replace(stranger, answered=False)]))
    assert 'class="drawing large predicted"' not in html and ", rightly refused" in html


def test_tables_and_drawn_figures_have_sections_of_their_own() -> None:
    table = TextTable("What each costs", "Seconds.", ("learner", "training"), [["A", "3 s"], [NASTY, "4 s"]])
    png = BytesIO()
    Image.new("L", (3, 3)).save(png, "PNG")
    html = render_report(replace(content(), tables=[table], figures=[Figure("Hunger", "A curve.", png.getvalue())]))
    assert NASTY in Reader(html).words and NASTY not in html
    assert decode(re.findall(r'class="drawn" src="([^"]+)"', html)[0]).size == (3, 3)
    with pytest.raises(DataError, match="has 1 cells: expected 2"):
        TextTable("t", "", ("a", "b"), [["x"]])
