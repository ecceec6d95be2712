"""Scripts written before `regard.domains` find the readers of images here."""
