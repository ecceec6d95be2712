"""Images by a pretrained transformer or convolutional network of the package transformers.

    vector    the state of the class token, the mean over patches, or the body's own pooled output; of length 1
    parts     the states of the patches

Sizes, crops and the mean and deviation of colours are those of the body's own processor.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from regard.episode import Items
from regard.errors import BodyError, EpisodeError
from regard.extras import import_extra
from regard.nn.pretrained.bodies import EXTRA, offline_remedies
from regard.nn.pretrained.encoder import BodyOptions, PretrainedEncoder

_IMAGES_AT_ONCE = 32


class PretrainedImages(PretrainedEncoder):
    """(N, H, W), or (N, H, W, 1 or 3) images of uint8 0..255 or floats 0..1, to vectors or patches.

    Args:
        body: as for `PretrainedEncoder`.
        options: as for `PretrainedEncoder`; pooling "auto" is the class token where there is one, or else the mean.

    Raises:
        MissingExtraError, BodyError: as `PretrainedEncoder`.
        EpisodeError: in `forward`, items that are no images.
    """

    tower = "vision_model"
    poolings = ("auto", "cls", "mean", "pooler")

    def __init__(self, body: str, **options: Unpack[BodyOptions]) -> None:
        super().__init__(body, **options)
        with torch.no_grad():
            example = self._example()
            states = self._cut.run_lower(example)
            states = self.run_upper(states, example).last_hidden_state if self.n_trained_layers else states
        self.n_features = int(_sequence(states).shape[-1])

    def forward(self, x: Items) -> Float[Tensor, "N *P D"]:
        """Images, or what `prepare` made of them, to (N, D) or (N, P, D)."""
        if isinstance(x, dict):
            states, pixels = x["states"], x["pixels"]
        else:
            pixels = self.pixels(x)
            states = None
        outputs = []
        for first in range(0, len(pixels), _IMAGES_AT_ONCE):
            rows = slice(first, first + _IMAGES_AT_ONCE)
            outputs.append(self._encode(pixels[rows], None if states is None else states[rows]))
        return torch.cat(outputs)

    def pixels(self, x: Tensor) -> Float[Tensor, "N C h w"]:
        """Images as the body reads them: resized, cropped and normalised by its own processor."""
        if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] not in (1, 3)):
            raise EpisodeError(
                f"items have shape {tuple(x.shape[1:])}: expected images (height, width), or with 1 or 3 channels last."
            )
        colour = (x[..., None] if x.ndim == 3 else x).expand(*x.shape[:3], 3)
        bytes_ = colour if colour.dtype == torch.uint8 else (colour.clamp(0, 1) * 255).round().to(torch.uint8)
        arrays = [image.cpu().numpy() for image in bytes_]
        prepared = self._processor(images=arrays, return_tensors="pt", input_data_format="channels_last")
        dtype, device = self.dtype_and_device()
        return prepared["pixel_values"].to(device, dtype)

    def _encode(self, pixels: Tensor, states: Tensor | None) -> Tensor:
        inputs = {"pixel_values": pixels}
        if self._cut.n_upper:
            states = self.run_frozen(inputs) if states is None else states
            output = self.run_upper(states, inputs)
        else:
            with torch.no_grad():
                output = self._cut.lower(**inputs)
        sequence, n_prefix = _sequence(output.last_hidden_state), self._n_prefix(output.last_hidden_state, pixels)
        if self.parts:
            return sequence[:, n_prefix:]
        pooled: Tensor | None = getattr(output, "pooler_output", None)
        if self.pooling != "pooler":
            z = sequence[:, 0] if n_prefix and self.pooling != "mean" else sequence[:, n_prefix:].mean(1)
        elif pooled is None:
            raise BodyError(f"{type(self.model).__name__} has no pooled output: expected another pooling.")
        else:
            z = pooled.flatten(1)
        return F.normalize(z, dim=-1) if self.normalise else z

    def _n_prefix(self, states: Tensor, pixels: Tensor) -> int:
        """Class and register tokens before the patches."""
        patch = getattr(self.model.config, "patch_size", None)
        if states.ndim == 4 or not isinstance(patch, int):
            return 0
        return max(0, states.shape[1] - (pixels.shape[2] // patch) * (pixels.shape[3] // patch))

    def prepare(self, x: Items) -> dict[str, Tensor]:
        """The pixels, and the states of the frozen layers as float16."""
        assert isinstance(x, Tensor)
        pixels = self.pixels(x)
        states = [self.run_frozen({"pixel_values": some}).half() for some in pixels.split(_IMAGES_AT_ONCE)]
        return {"pixels": pixels, "states": torch.cat(states)}

    def _example(self) -> dict[str, Tensor]:
        return {"pixel_values": self.pixels(torch.zeros(2, 8, 8, 3, dtype=torch.uint8))}

    @cached_property
    def _processor(self) -> Any:
        transformers = import_extra("transformers", EXTRA)
        try:
            return transformers.AutoImageProcessor.from_pretrained(
                self.body.folder, local_files_only=True, trust_remote_code=False, backend="pil"
            )
        except Exception as error:  # whatever a folder without one makes of it
            raise BodyError(
                f"{self.body.folder} has no image processor that could be loaded ({type(error).__name__}: "
                f"{str(error)[:200]}): expected preprocessor_config.json; {offline_remedies('images')}."
            ) from error


def _sequence(states: Tensor) -> Tensor:
    """(N, P, D), also of maps (N, D, h, w)."""
    return states.flatten(2).transpose(1, 2) if states.ndim == 4 else states
