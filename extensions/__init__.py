"""What is of one's own, a folder for each kind; this file belongs to no stage: docs/extensions.md."""
