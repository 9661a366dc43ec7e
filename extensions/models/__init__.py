"""Networks of one's own: docs/extensions.md."""
