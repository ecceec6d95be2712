"""A pretrained body as an encoder: frozen, with its last layers trained, or with low-rank adapters (LoRA) in them.

Only what is trained is in the state dict: a checkpoint keeps some layers and names the body by the hash of its weights.

LoRA: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685, by the package peft.
Outside training the trained weights may be averaged with those that training began from, which keeps more of what the
body knew of other data: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), arXiv:2109.01903.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.errors import BodyError, ExportError, did_you_mean
from regard.extras import import_extra
from regard.limits import UNCOUNTED
from regard.nn.encoder import Encoder
from regard.nn.inference import fast_bf16
from regard.nn.pretrained.bodies import EXTRA, find_body, offline_remedies
from regard.nn.pretrained.layers import CutModel, find_layers

BodyPrecision = Literal["auto", "float32", "bfloat16"]


class BodyOptions(TypedDict, total=False):
    """Options, by keyword, of every encoder on a pretrained body; see `PretrainedEncoder`, which has the defaults.

    A constructor takes them as `**options: Unpack[BodyOptions]`.
    """

    digest: str | None
    n_trained_layers: int
    lora_rank: int
    body_share: float
    layer: int | None
    precision: BodyPrecision
    parts: bool
    pooling: str
    normalise: bool


class PretrainedEncoder(Encoder):
    """Abstract: a body of transformers.

    Attributes:
        tower: of a body for texts and images together, the attribute that holds the half of this encoder.
        poolings: names of the ways from states to a vector.

    Args:
        body: short name, path, or name on the hub; see `regard.nn.pretrained.bodies`.
        digest: SHA-256 that its weights must have; None takes any.
        n_trained_layers: how many of the last layers are trained; the others, embeddings and norms stay as they are.
        lora_rank: train adapters of this rank in those layers in place of their own weights; 0 is none.
        body_share: outside training, trained layers compute with this share of the body's own weights and the rest of
            the trained ones; 0 uses the trained ones alone.
        layer: whose output is taken, from 1 to the number of layers; None is the last one.
        precision: of the frozen layers; "auto" is bfloat16 where the machine multiplies it in hardware. What is
            trained computes in the precision of its weights.
        parts: give the states of tokens or patches (N, P, D) in place of one vector.
        pooling: of them to a vector, one of `poolings`.
        normalise: vectors to length 1.

    Raises:
        MissingExtraError: transformers, peft or the package of the body is not installed.
        BodyError: a body that is not there, has another hash, or is of a kind that gives no encoding.
    """

    tower: ClassVar[str]
    poolings: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        body: str,
        *,
        digest: str | None = None,
        n_trained_layers: int = 0,
        lora_rank: int = 0,
        body_share: float = 0.0,
        layer: int | None = None,
        precision: BodyPrecision = "auto",
        parts: bool = False,
        pooling: str = "auto",
        normalise: bool = True,
    ) -> None:
        super().__init__()
        if pooling not in self.poolings:
            raise BodyError(f"pooling is {pooling!r}: {did_you_mean(pooling, self.poolings)}")
        if n_trained_layers < 0 or lora_rank < 0 or (lora_rank and not n_trained_layers):
            raise BodyError(
                f"n_trained_layers is {n_trained_layers} and lora_rank {lora_rank}: expected both to be 0, the first "
                "alone, or both above 0."
            )
        if not 0 <= body_share < 1 or (body_share and (lora_rank or not n_trained_layers)):
            raise BodyError(
                f"body_share is {body_share}: expected a number from 0 to below 1, and above 0 only with whole trained "
                "layers (n_trained_layers above 0, lora_rank 0)."
            )
        self.body = find_body(body)
        self.body.require(digest)
        self.precision: BodyPrecision = precision
        self.parts, self.pooling, self.normalise = parts, pooling, normalise
        self.n_trained_layers = n_trained_layers
        self.model = self._load()
        if layer is not None:
            _, layers = find_layers(self.model)
            if not 1 <= layer <= len(layers):
                raise BodyError(f"layer is {layer}: expected 1 to {len(layers)}, the layers of this body.")
            del layers[layer:]
            self.model.config.num_hidden_layers = layer
        self.model.requires_grad_(False)
        self._cut = CutModel(self.model, n_trained_layers, self._example())
        if n_trained_layers:
            _, layers = find_layers(self.model)
            if lora_rank:
                self._adapt_layers(lora_rank, range(self._cut.cut, len(layers)))
            else:
                layers[self._cut.cut :].requires_grad_(True)
        self.body_share = body_share
        self._mixed = [name for name, p in self.model.named_parameters() if p.requires_grad] if body_share else []
        for i, name in enumerate(self._mixed):
            self.register_buffer(f"_body_{i}", self.model.get_parameter(name).detach().clone(), persistent=False)
        self._frozen = {*self.state_dict()} - {name for name, p in self.named_parameters() if p.requires_grad}
        self.model.eval()
        self.register_state_dict_post_hook(_keep_trained)
        self.register_load_state_dict_pre_hook(_supply_frozen)

    @abstractmethod
    def _example(self) -> dict[str, Tensor]:
        """A small input of the model."""

    def fix_for_file(self) -> None:
        n_bytes = sum(file.stat().st_size for file in self.body.weights)
        raise ExportError(
            f"{type(self).__name__} stands on {self.body.name!r}, a body of {n_bytes / 1e6:.0f} MB whose tokenizer or "
            "processor no file of one function holds: of sentences make a page (--html), use `regard serve`, or "
            "give the file vectors, by exporting the learner on regard.nn.flat.Flat with items=."
        )

    @property
    def space(self) -> str:
        """What the states of `prepare` depend on, as a key of a cache: the body and the number of frozen layers."""
        return f"{self.body.digest}/{self._cut.n_upper}"

    def train(self, mode: bool = True) -> Self:
        """The body stays in eval mode: it was trained, and its dropout would only blur a few examples."""
        super().train(mode)
        self.model.eval()
        return self

    def run_frozen(self, inputs: Mapping[str, Any]) -> Float[Tensor, "N L D"]:
        """States of the frozen layers; no gradient reaches them."""
        device = self.dtype_and_device()[1]
        half = self.precision == "bfloat16" or (self.precision == "auto" and fast_bf16(device))
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            return self._cut.run_lower(inputs)

    def run_trained(self, states: Float[Tensor, "N L D"], inputs: Mapping[str, Any]) -> Float[Tensor, "N L D"]:
        """The body's last states, from those of its frozen layers."""
        return (
            self.run_upper(states, inputs).last_hidden_state
            if self._cut.n_upper
            else states.to(self.dtype_and_device()[0])
        )

    def run_upper(self, states: Float[Tensor, "N L D"], inputs: Mapping[str, Any]) -> Any:
        """The model's own output, from the states of its frozen layers."""
        states = states.to(self.dtype_and_device()[0])
        weights = None
        if self._mixed and not self.training:
            weights = {
                name: torch.lerp(self.model.get_parameter(name), self.get_buffer(f"_body_{i}"), self.body_share)
                for i, name in enumerate(self._mixed)
            }
        return self._cut.run_upper(states, inputs, weights)

    def dtype_and_device(self) -> tuple[torch.dtype, torch.device]:
        """Of the body's weights."""
        parameter = next(self.model.parameters())
        return parameter.dtype, parameter.device

    # ---- how it is made ------------------------------------------------------------------------------------------

    def _load(self) -> Any:
        transformers = import_extra("transformers", EXTRA)
        config = self.body.read_json("config.json")
        if not config:
            raise BodyError(f"{self.body.folder} has no config.json: {offline_remedies()}.")
        if "auto_map" in config:
            raise BodyError(
                f"{self.body.folder} needs code of its own (auto_map in config.json), which is never run: choose a "
                "body whose architecture transformers has."
            )
        kind = str(config.get("model_type"))
        auto = transformers.models.auto.modeling_auto
        generates = (
            kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        )
        if generates or config.get("is_decoder") or config.get("is_encoder_decoder"):
            raise BodyError(
                f"{self.body.folder} is a {kind}, which generates text: its states see only what stands before them. "
                f"Expected an encoder, such as BERT, MPNet or ViT; {offline_remedies()}."
            )
        logging = transformers.utils.logging
        shown, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        token = UNCOUNTED.set(True)
        try:
            model = transformers.AutoModel.from_pretrained(
                self.body.folder, local_files_only=True, trust_remote_code=False, dtype=torch.get_default_dtype()
            )
        except Exception as error:  # whatever a damaged folder makes of it
            raise BodyError(
                f"{self.body.folder} could not be loaded ({type(error).__name__}: {str(error)[:200]}): "
                f"{offline_remedies()}."
            ) from error
        finally:
            UNCOUNTED.reset(token)
            logging.set_verbosity(shown)
            if bars:
                logging.enable_progress_bar()
        return getattr(model, self.tower, model)

    def _adapt_layers(self, rank: int, layers: range) -> None:
        peft = import_extra("peft", EXTRA)
        path, _ = find_layers(self.model)
        linear = {
            name
            for name, module in self.model.named_modules()
            if isinstance(module, nn.Linear) and any(name.startswith(f"{path}.{i}.") for i in layers)
        }
        config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear)
        peft.inject_adapter_in_model(config, self.model)


def _keep_trained(module: nn.Module, state: dict[str, Any], prefix: str, local: Any) -> None:
    assert isinstance(module, PretrainedEncoder)
    for name in module._frozen:
        state.pop(prefix + name, None)


def _supply_frozen(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(module, PretrainedEncoder)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name in module._frozen:
        state.setdefault(prefix + name, tensors[name])
