"""Smaller files: weights in half precision, or convolutions and products with weights in 8 bits.

    float16   every weight and what is computed with it; inputs and outputs stay float32
    int8      weights per channel, activations per tensor, by the ranges that a few tasks have; the rest stays float32

The nodes that quantize and dequantize (QDQ) are written into the graph, so that every runtime reads it. Ranges that are
found while the file runs would make it slower than float32, so they are not offered.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

from regard.export.quiet import quiet
from regard.extras import import_extra


def reduced(model: Any, precision: Literal["float16", "int8"], feeds: list[dict[str, Any]]) -> Any:
    """The same model with smaller weights.

    Args:
        model: an `onnx.ModelProto` in float32.
        precision: of the result.
        feeds: inputs of typical tasks, from which the ranges of activations are taken.
    """
    if precision == "float16":
        half = import_extra("onnxruntime.transformers.float16", "export")
        return half.convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    quantization, onnx = import_extra("onnxruntime.quantization", "export"), import_extra("onnx", "export")

    class Feeds(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            wanted = {value.name for value in model.graph.input}
            self.rest = iter([{k: v for k, v in feed.items() if k in wanted} for feed in feeds])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.rest, None)

    with tempfile.TemporaryDirectory() as folder, quiet():
        before, after = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, before)
        quantization.quantize_static(
            before,
            after,
            Feeds(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(after)
