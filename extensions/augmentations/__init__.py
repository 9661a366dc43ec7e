"""Augmentations of training images of one's own: docs/extensions.md."""
