"""Which extension is plugged where.  Generated: make index."""
from __future__ import annotations

CAPABILITIES: dict[str, bytes] = {
    "enable": b"ENABLE",
    "ident": b"ID",
    "idle": b"IDLE",
    "namespace": b"NAMESPACE",
    "unselect": b"UNSELECT",
}
PLUGGED: dict[str, dict[bytes, str]] = {
    "enable": {},
    "fetch_items": {},
    "search_keys": {},
    "select_params": {},
    "status_items": {},
}
