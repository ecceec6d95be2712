"""The sentence encoder of a page: BERT's layers over one window of tokens, its weights in 8 bits.

    W[o, :] = scale[o] * q[o, :],      q in -127 .. 127,  scale[o] = max |W[o, :]| / 127

Each row of a matrix has a scale of its own, and each word too. A browser multiplies them out when it opens the page and
computes in single precision, so that a file of a quarter of the size changes answers by the rounding of weights alone.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
arXiv:1810.04805.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Items
from regard.errors import ExportError
from regard.learners.base import Learner
from regard.nn.pretrained.text import PretrainedText


class SentenceFunction(nn.Module):
    """Queries {"ids", "mask"} of one window each to vectors (N, D) of length 1, as `PretrainedText` gives them.

    Args:
        encoder: on a body of the kind of BERT whose vectors are means of states.

    Raises:
        ExportError: another kind of body, or of tokens.
    """

    def __init__(self, encoder: PretrainedText) -> None:
        super().__init__()
        self.outputs = ["z"]
        require_bert(encoder)
        model = encoder.model
        weights = {name: p.detach() for name, p in model.named_parameters()}
        for i, name in enumerate(encoder._mixed):
            weights[name] = torch.lerp(weights[name], encoder.get_buffer(f"_body_{i}"), encoder.body_share)
        own = {name: tensor.float() for name, tensor in weights.items()}
        self.n_heads, self.epsilon = model.config.num_attention_heads, model.config.layer_norm_eps
        self.n_layers = model.config.num_hidden_layers
        self.words = _Rows(own["embeddings.word_embeddings.weight"])
        place = own["embeddings.position_embeddings.weight"][: encoder.length]
        self.register_buffer("place", place + own["embeddings.token_type_embeddings.weight"][0])
        self.place: Tensor
        self.norm = nn.ModuleDict()
        self.dense = nn.ModuleDict()
        for name in own:
            key = name.rpartition(".")[0]
            if key.endswith("LayerNorm") and name.endswith("weight"):
                self.norm[_plain(key)] = _norm(own[name], own[f"{key}.bias"], self.epsilon)
            elif key.startswith("encoder.") and name.endswith("weight"):
                self.dense[_plain(key)] = _Dense(own[name], own[f"{key}.bias"])

    def forward(self, query_x: Items) -> tuple[Float[Tensor, "N D"]]:
        """As the class says."""
        assert isinstance(query_x, dict)
        ids, mask = query_x["ids"], query_x["mask"].to(torch.float32)
        h = self.words(ids) + self.place[torch.arange(ids.shape[1], device=ids.device)]
        h = self.norm["embeddings_LayerNorm"](h)
        there = (1 - mask)[:, None, None, :] * -1e9
        for i in range(self.n_layers):
            layer = f"encoder_layer_{i}_"
            q, k, v = (
                self.dense[f"{layer}attention_self_{name}"](h).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
                for name in ("query", "key", "value")
            )
            share = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5 + there, -1)
            mixed = (share @ v).transpose(1, 2).flatten(2)
            h = self.norm[f"{layer}attention_output_LayerNorm"](h + self.dense[f"{layer}attention_output_dense"](mixed))
            inner = F.gelu(self.dense[f"{layer}intermediate_dense"](h))
            h = self.norm[f"{layer}output_LayerNorm"](h + self.dense[f"{layer}output_dense"](inner))
        mean = (mask[:, None, :] @ h).squeeze(1) / mask.sum(1, keepdim=True).clamp_min(1)
        return (F.normalize(mean, dim=-1),)


class _Rows(nn.Module):
    """A table of vectors in 8 bits; ids to vectors."""

    def __init__(self, weight: Float[Tensor, "V D"]) -> None:
        super().__init__()
        q, scale = in_8_bits(weight)
        self.register_buffer("q", q)
        self.register_buffer("scale", scale)
        self.q: Tensor
        self.scale: Tensor

    def forward(self, ids: Int[Tensor, "N L"]) -> Float[Tensor, "N L D"]:
        return self.q[ids].float() * self.scale[ids]


class _Dense(nn.Module):
    """A linear layer in 8 bits."""

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"]) -> None:
        super().__init__()
        q, scale = in_8_bits(weight)
        # As a product takes it, so that nothing is turned while the file runs.
        self.register_buffer("q", q.mT.contiguous())
        self.register_buffer("scale", scale.mT.contiguous())
        self.register_buffer("bias", bias)
        self.q: Tensor
        self.scale: Tensor
        self.bias: Tensor

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        return x @ (self.q.float() * self.scale) + self.bias


def in_8_bits(weight: Float[Tensor, "O I"]) -> tuple[Int[Tensor, "O I"], Float[Tensor, "O 1"]]:
    """q and scale, as the module says."""
    scale = weight.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / 127
    return (weight / scale).round().to(torch.int8), scale


def _norm(weight: Tensor, bias: Tensor, epsilon: float) -> nn.LayerNorm:
    made = nn.LayerNorm(len(weight), eps=epsilon)
    made.weight, made.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return made


def _plain(name: str) -> str:
    return name.replace(".", "_")


def require_bert(encoder: PretrainedText) -> None:
    """Refuse what the page has no counterpart of.

    Raises:
        ExportError: with the reason.
    """
    config, tokenizer = encoder.model.config, tokenizer_settings(encoder)
    normalizer = tokenizer.get("normalizer") or {}
    reasons = [
        (config.model_type != "bert", f"the body is a {config.model_type}, not a BERT"),
        (encoder.parts or encoder.pooling != "mean" or not encoder.normalise, "vectors are no means of length 1"),
        (any("lora" in name for name, _ in encoder.model.named_parameters()), "it has adapters"),
        ((tokenizer.get("model") or {}).get("type") != "WordPiece", "its tokenizer is no WordPiece"),
        (normalizer.get("type") != "BertNormalizer" or not normalizer.get("lowercase"), "its tokenizer keeps case"),
        (getattr(config, "hidden_act", "gelu") != "gelu", f"its activation is {config.hidden_act}"),
    ]
    for wrong, reason in reasons:
        if wrong:
            raise ExportError(f"a page takes sentences by a BERT that ignores case, and here {reason}.")


def tokenizer_settings(encoder: PretrainedText) -> dict[str, Any]:
    """The body's tokenizer.json."""
    return encoder.body.read_json("tokenizer.json")


def vocabulary(learner: Learner) -> dict[str, Any]:
    """What the page cuts texts by: words in the order of their ids, a line each, and most tokens of a window."""
    encoder = learner.encoder
    assert isinstance(encoder, PretrainedText)
    words: dict[str, int] = tokenizer_settings(encoder)["model"]["vocab"]
    return {"words": "\n".join(sorted(words, key=words.__getitem__)), "length": encoder.length}
