from __future__ import annotations

PLUGGED: dict[str, dict[bytes, str]] = {}
COMMANDS: dict[bytes, tuple[str, int, int]] = {}
