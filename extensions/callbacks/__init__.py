"""Callbacks of Lightning's Trainer of one's own: docs/extensions.md."""
