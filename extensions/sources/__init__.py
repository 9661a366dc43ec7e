"""Sources of images of one's own: docs/extensions.md."""
