"""Learners that leave Python (extra `export`): an ONNX file, or one page that adapts and answers in a browser.

graph       a learner as one function of a task's tensors
onnx_file   that function as a file, compared with PyTorch before it is left on disk
precision   half the size, or a third
html_page   one HTML file with model and runtime inside; `page` holds what it is made of
runtime     onnxruntime-web, fetched once
"""

from typing import TYPE_CHECKING

from regard.lazy import lazy

if TYPE_CHECKING:
    from regard.export.html_page import export_html
    from regard.export.onnx_file import Exported, export_onnx

__all__ = ["Exported", "export_html", "export_onnx"]
__getattr__ = lazy(__name__, {"Exported": ".onnx_file", "export_html": ".html_page", "export_onnx": ".onnx_file"})
