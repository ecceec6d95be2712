"""Pretrained bodies: transformers of texts and images as encoders, with what is trained on top (extra `pretrained`)."""
