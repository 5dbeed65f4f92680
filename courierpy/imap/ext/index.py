"""Which extension is plugged where.  Generated: make index."""
from __future__ import annotations

CAPABILITIES: dict[str, tuple[bytes, ...]] = {
    "appendlimit": (b"APPENDLIMIT",),
    "enable": (b"ENABLE",),
    "esearch": (b"ESEARCH",),
    "id": (b"ID",),
    "idle": (b"IDLE",),
    "namespace": (b"NAMESPACE",),
    "sort": (b"SORT",),
    "thread": (b"THREAD=ORDEREDSUBJECT", b"THREAD=REFERENCES",),
    "unselect": (b"UNSELECT",),
    "utf8": (b"UTF8=ACCEPT",),
}
PLUGGED: dict[str, dict[bytes, str]] = {
    "enable": {b"UTF8=ACCEPT": "utf8"},
    "fetch_items": {},
    "on_updates": {},
    "search_keys": {},
    "search_returns": {b"ALL": "esearch", b"COUNT": "esearch", b"MAX": "esearch", b"MIN": "esearch"},
    "select_params": {},
    "status_items": {b"APPENDLIMIT": "appendlimit"},
}
