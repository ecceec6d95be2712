"""Readers of images, under the name that scripts written before `regard.domains` use."""

from __future__ import annotations

from regard.domains.images.folder import class_files, image_files, image_folder
from regard.domains.images.reader import ImageReader, read_images

__all__ = ["ImageReader", "class_files", "image_files", "image_folder", "read_images"]
