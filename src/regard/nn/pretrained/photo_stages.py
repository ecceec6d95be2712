"""Photographs to one vector by a pretrained EfficientNet-Lite0: several of its stages side by side, each whitened.

    f(x)   = [ sqrt(a_1) unit(T_1 g_1(x)), ..., sqrt(a_L) unit(T_L g_L(x)) ]        a_l: shares that sum to 1
    g_l(x)   one stage: the root of the mean or of the deviation of each channel over the picture, or the mean of each
             channel in each cell of a 4 x 4 grid
    T_l z  = (W_l + c_l I)^(-1/2) (z - mean_l)       W_l: scatter of g_l within the training classes, along its r main
             directions and alike in all others;  c_l: a multiple of its mean variance

Late stages tell objects apart, earlier ones shapes and textures, which is what matters far from ImageNet. Whitening
takes weight away from directions in which pictures of one class differ (lighting, background); it is fitted once, in
closed form, on training classes, and serves other kinds of pictures too. Without `fit` T_l is the identity.

Fisher 1936, "The use of multiple measurements in taxonomic problems", and Hariharan, Girshick 2017, "Low-shot Visual
Recognition by Shrinking and Hallucinating Features", arXiv:1606.02819, for within-class scatter; Dvornik, Schmid,
Mairal 2020, "Selecting Relevant Features from a Multi-domain Representation", arXiv:2003.09338, for several stages.

The network is frozen. A checkpoint keeps the whitening, not the network, which is known by the hash of its weights.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Items
from regard.errors import BodyError, ConfigError, EpisodeError, did_you_mean
from regard.files import cache_folder
from regard.nn.efficientnet_lite import EfficientNetLite0, FeatureMaps, standardise_colours
from regard.nn.encoder import FittedEncoder
from regard.nn.encoding_cache import EncodingCache, encode_cached
from regard.nn.pretrained.bodies import find_body

SIDE = 224
"""Pixels that the published weights were trained on."""
_VERSION = 1
"""Of what the cache keeps: raise it when the stages change."""
_AT_ONCE = 16
_GRID = 4


class Stage(NamedTuple):
    """One stage.

    Args:
        kind: of pooling. The mean and the deviation are of the wide maps, the grid of the thin ones.
        block: 0 to 15; 16 is the head.
        ridge: c_l, as a multiple of the mean variance within classes.
        share: a_l before they are made to sum to 1.
    """

    kind: Literal["mean", "deviation", "grid"]
    block: int
    ridge: float
    share: float


STAGES = (
    Stage("mean", 16, 10.0, 1.0),
    Stage("mean", 15, 3.0, 1.0),
    Stage("grid", 14, 3.0, 1.0),
    Stage("deviation", 12, 1.0, 1.0),
    Stage("grid", 10, 1.0, 1.5),
)
"""Chosen on validation classes of photographs and on traffic signs, see docs/results/photos.md."""


class PhotoStages(FittedEncoder):
    """(N, H, W), or (N, H, W, 1 or 3) images of uint8 0..255 or floats 0..1, of any size, to vectors or patches.

    Args:
        body: "efficientnet-lite0", or the path of a file with weights of that network.
        digest: SHA-256 that they must have; None takes any.
        stages: "all" is f(x); "head" the mean of the head's maps alone, of length 1, which is what others take.
        parts: give the patches of the head's map (N, 49, 1280) in place of one vector.
        rank: r, of the whitening.
        size: side of the square that pictures are scaled to, in pixels.
        cache: keep what the network makes of each picture on disk, in `regard.files.cache_folder`.

    Raises:
        MissingExtraError: the package of the body is not installed.
        BodyError: weights that are not there, have another hash, or are of another network.
        EpisodeError: in `forward`, items that are no images.
    """

    general: ClassVar[str] = "PretrainedImages"
    """The encoder that takes any other body."""

    def __init__(
        self,
        body: str = "efficientnet-lite0",
        *,
        digest: str | None = None,
        stages: Literal["all", "head"] = "all",
        parts: bool = False,
        rank: int = 256,
        size: int = SIDE,
        cache: bool = True,
    ) -> None:
        super().__init__()
        if stages not in ("all", "head"):
            raise ConfigError(f"stages is {stages!r}: {did_you_mean(str(stages), ('all', 'head'))}")
        if rank < 1 or size < 32:
            raise ConfigError(f"rank is {rank} and size {size}: expected a rank of at least 1, and 32 pixels or more.")
        self.body = find_body(body)
        self.body.require(digest)
        self.stages, self.parts, self.size, self.cache = stages, parts, size, cache
        self.in_file = False
        self.network = EfficientNetLite0()
        path = self.body.weights[0]
        try:
            # weights_only: tensors and nothing that could run.
            is_safe = path.suffix == ".safetensors"
            weights = load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file makes of it
            raise BodyError(
                f"{path} cannot be read ({type(error).__name__}: {str(error)[:200]}): install the package again, or "
                "copy the file again."
            ) from error
        self.network.load(weights)
        self.network.requires_grad_(False)
        n_channels = [self.network.widths[stage.block] for stage in STAGES]
        pairs = zip(STAGES, n_channels, strict=True)
        self.widths = tuple(thin * _GRID**2 if stage.kind == "grid" else wide for stage, (wide, thin) in pairs)
        whole = stages == "all" and not parts
        self.whitening = nn.ModuleList(_Whitening(width, rank) for width in self.widths if whole)
        self.n_features = sum(self.widths) if whole else self.network.head.out_channels
        self.register_state_dict_post_hook(_without_network)
        self.register_load_state_dict_pre_hook(_with_network)

    def forward(self, x: Items) -> Float[Tensor, "N *P D"]:
        """Images to (N, D), or to (N, P, D)."""
        z = self.describe(x)
        if self.parts:
            return z
        if self.stages == "head":
            return F.normalize(z[:, : self.n_features].square(), dim=-1)
        total = sum(stage.share for stage in STAGES)
        units = [
            (stage.share / total) ** 0.5 * F.normalize(whiten(part), dim=-1)
            for stage, whiten, part in zip(STAGES, self.whitening, z.split(self.widths, -1), strict=True)
        ]
        return torch.cat(units, -1)

    def fit(self, x: Items, y: Int[Tensor, " N"]) -> None:
        """Whiten by the scatter within the training classes; where no class has two pictures, nothing changes."""
        if not len(self.whitening):
            return
        z = self.describe(x)
        labels = y.to(z.device)
        count = torch.bincount(labels)
        total = z.new_zeros(len(count), z.shape[1]).index_add(0, labels, z)
        residual = z - (total / count.clamp_min(1)[:, None])[labels]
        freedom = len(z) - int((count > 0).sum())
        if freedom < 1:
            return
        columns = zip(STAGES, self.whitening, z.mean(0).split(self.widths), residual.split(self.widths, 1), strict=True)
        for stage, whitening, mean, part in columns:
            assert isinstance(whitening, _Whitening)
            whitening.fit(mean, part, freedom, stage.ridge)

    def fix_for_file(self) -> None:
        """Pictures have to be of the network's size then, and what it makes of them is not rounded."""
        self.in_file = True

    def describe(self, x: Items) -> Float[Tensor, "N *P D"]:
        """What the frozen network makes of images, before whitening: rounded to float16, cached or not."""
        if isinstance(x, dict) or x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] not in (1, 3)):
            shape = "a dict" if isinstance(x, dict) else f"items of shape {tuple(x.shape[1:])}"
            raise EpisodeError(f"got {shape}: expected images (height, width), or with 1 or 3 channels last.")
        like = self.network.classifier.weight
        if self.in_file:
            if tuple(x.shape[1:]) != (self.size, self.size, 3):
                raise EpisodeError(f"images are {tuple(x.shape[1:])}: a file takes {(self.size, self.size, 3)}.")
            return self._described(x)
        if not len(x):
            tail = ((-(-self.size // 32)) ** 2, self.n_features) if self.parts else (sum(self.widths),)
            return like.new_zeros(0, *tail)
        bytes_ = x if x.dtype == torch.uint8 else (x.detach().clamp(0, 1) * 255).round().to(torch.uint8)
        images = bytes_.cpu()
        contents = [image.contiguous().numpy().tobytes() for image in images]
        kind = "patches" if self.parts else "stages"
        space = f"photographs-{_VERSION}/{self.body.digest}/{kind}/{self.size}/{tuple(images.shape[1:])}"
        cache = EncodingCache(cache_folder() / "encodings.sqlite") if self.cache else None
        found = encode_cached(
            cache, space, contents, lambda rows: self._run(images[rows]), batch=_AT_ONCE, title="encoding photographs"
        )
        return torch.stack(found).to(like.device, like.dtype)

    def _run(self, images: Tensor) -> list[Tensor]:
        from PIL import Image

        like = self.network.classifier.weight
        colour = (images[..., None] if images.ndim == 3 else images).expand(*images.shape[:3], 3).numpy()
        square = (self.size, self.size)
        scaled = [np.asarray(Image.fromarray(image).resize(square, Image.Resampling.BICUBIC)) for image in colour]
        with torch.no_grad():
            return list(self._described(torch.from_numpy(np.stack(scaled)).to(like.device)))

    def _described(self, images: Tensor) -> Tensor:
        """(N, side, side, 3) images of 0..255 to what `describe` gives, in full precision."""
        pixels = images.to(self.network.classifier.weight.dtype).permute(0, 3, 1, 2)
        maps: FeatureMaps = self.network(standardise_colours(pixels).contiguous(memory_format=torch.channels_last))
        if self.parts:
            return maps.head.flatten(2).mT
        columns = []
        for stage in STAGES:
            if stage.kind == "grid":
                columns.append(F.adaptive_avg_pool2d(maps.thin[stage.block], _GRID).flatten(1))
            else:
                wide = (*maps.wide, maps.head)[stage.block]
                pooled = wide.flatten(2).mean(2) if stage.kind == "mean" else _deviation(wide)
                columns.append(pooled.clamp_min(0).sqrt())
        return torch.cat(columns, 1)


def _deviation(maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C"]:
    """Over the picture. As differences to one place, so that an even channel has none at all, however it is summed:
    the root of a deviation makes of its seventh digit the fourth.
    """
    from_one = (maps - maps[:, :, :1, :1]).flatten(2)
    return (from_one - from_one.mean(2, keepdim=True)).square().mean(2).sqrt()


class _Whitening(nn.Module):
    """T_l: the identity until it is fitted.

    Buffers: mean (D,), basis (D, r) orthonormal columns, factor (r,) by which they are scaled.
    """

    def __init__(self, n_features: int, rank: int) -> None:
        super().__init__()
        rank = min(rank, n_features)
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("basis", torch.zeros(n_features, rank))
        self.register_buffer("factor", torch.ones(rank))
        self.mean: Tensor
        self.basis: Tensor
        self.factor: Tensor

    def forward(self, z: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        centred = z - self.mean
        return centred + (centred @ self.basis * (self.factor - 1)) @ self.basis.mT

    def fit(self, mean: Tensor, residual: Float[Tensor, "N D"], freedom: int, ridge: float) -> None:
        """From the residuals of items about their class, by as many degrees of freedom."""
        n_items, n_features = residual.shape
        x = residual / freedom**0.5
        # The same eigenvalues; whichever matrix is smaller.
        few = n_items < n_features
        value, vector = torch.linalg.eigh(x @ x.mT if few else x.mT @ x)
        rank = min(len(self.factor), n_items)
        value, vector = value.flip(0)[:rank].clamp_min(0), vector.flip(1)[:, :rank]
        vector = F.normalize(x.mT @ vector, dim=0) if few else vector
        total = x.square().sum()
        added = ridge * total / n_features + torch.finfo(x.dtype).tiny
        rest = (total - value.sum()).clamp_min(0) / max(1, n_features - rank)
        self.mean.copy_(mean)
        # Rounded, so that a checkpoint of half the size loses nothing.
        self.basis.zero_()[:, :rank] = vector.to(torch.float16).to(self.basis)
        self.factor.fill_(1.0)[:rank] = ((rest + added) / (value + added)).sqrt().to(self.factor)


def _without_network(module: nn.Module, state: dict[str, Any], prefix: str, local: Any) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}network.")]:
        del state[name]
    for name in [name for name in state if name.startswith(prefix) and name.endswith(".basis")]:
        state[name] = state[name].to(torch.float16)  # lossless, see `_Whitening.fit`


def _with_network(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(module, PhotoStages)
    for name, tensor in module.network.state_dict().items():
        state.setdefault(f"{prefix}network.{name}", tensor)
