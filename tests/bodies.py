"""Tiny random bodies of their own vocabulary, as folders that transformers writes: what tests do not wait for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WORDS = ("card", "money", "lost", "my", "is", "the", "where", "a", "song", "play", "hot", "rain", "ada", "byron", ".")
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *("##s", "##ing", "##" + "a")]


def tiny_bert(folder: Path, seed: int = 0, **changes: Any) -> str:
    """A BERT of four layers with 16 features; returns the path of its folder."""
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "vocab_size": len(TOKENS),
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 32,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(BertConfig(**(settings | changes)))
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return str(folder)


def write_tokenizer(folder: Path, **changes: Any) -> None:
    """A WordPiece tokenizer of `TOKENS`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.WordPiece({token: i for i, token in enumerate(TOKENS)}, unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"} | changes
    PreTrainedTokenizerFast(tokenizer_object=pieces, **special).save_pretrained(folder)


def tiny_vit(folder: Path, seed: int = 0) -> str:
    """A ViT of four layers that reads 16 x 16 pixels in patches of 8; returns the path of its folder."""
    from transformers import ViTConfig, ViTModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = ViTConfig(
            hidden_size=16,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=24,
            image_size=16,
            patch_size=8,
        )
        model = ViTModel(config)
    model.save_pretrained(folder)
    write_processor(folder, "ViTImageProcessor", size={"height": 16, "width": 16})
    return str(folder)


def tiny_dinov2(folder: Path, registers: int = 0) -> str:
    """A DINOv2 of three layers that crops to 28 x 28 pixels and reads patches of 14; returns the path of its folder."""
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    size = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "mlp_ratio": 2, "image_size": 42}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if registers:
            config = Dinov2WithRegistersConfig(**size, patch_size=14, num_register_tokens=registers)
            Dinov2WithRegistersModel(config).save_pretrained(folder)
        else:
            Dinov2Model(Dinov2Config(**size, patch_size=14)).save_pretrained(folder)
    crop = {"do_center_crop": True, "crop_size": {"height": 28, "width": 28}}
    write_processor(folder, "BitImageProcessor", size={"shortest_edge": 32}, **crop)
    return str(folder)


def write_processor(folder: Path, kind: str, **settings: Any) -> None:
    """The file that says how a body's pictures are resized and normalised."""
    processor = {
        "image_processor_type": kind,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
        "resample": 2,
        **settings,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def efficientnet_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of EfficientNet-Lite0 under the names of the published ones."""
    from regard.nn.efficientnet_lite import EfficientNetLite0

    draw = torch.Generator().manual_seed(seed)
    network = EfficientNetLite0()
    weights: dict[str, torch.Tensor] = {}

    def put(convolution: str, norm: str, shape: torch.Size) -> None:
        fan_in = shape[1] * shape[2] * shape[3]
        weights[f"{convolution}.weight"] = torch.randn(shape, generator=draw) * (2 / fan_in) ** 0.5
        n_out = shape[0]
        weights[f"{norm}.weight"] = 0.5 + torch.rand(n_out, generator=draw)
        weights[f"{norm}.bias"] = 0.2 * torch.randn(n_out, generator=draw)
        weights[f"{norm}.running_mean"] = 0.2 * torch.randn(n_out, generator=draw)
        weights[f"{norm}.running_var"] = 0.5 + torch.rand(n_out, generator=draw)

    put("_conv_stem", "_bn0", network.stem.weight.shape)
    for i, block in enumerate(network.blocks):
        parts: Any = block
        if parts.expand is not None:
            put(f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0", parts.expand.weight.shape)
        put(f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1", parts.depthwise.weight.shape)
        put(f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2", parts.project.weight.shape)
    put("_conv_head", "_bn1", network.head.weight.shape)
    weights["_fc.weight"] = torch.randn(1000, 1280, generator=draw) / 36
    weights["_fc.bias"] = torch.zeros(1000)
    return weights
