"""What was computed of a folder and may be deleted at any time: docs/index.md."""
