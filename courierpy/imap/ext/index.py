"""Which extension is plugged where.  Generated: make index."""
from __future__ import annotations

# token, file, the setting that takes it back, the setting that is its value
CAPABILITIES: tuple[tuple[bytes, str, str, str], ...] = (
    (b"APPENDLIMIT", "ext.appendlimit", "", "IMAP_APPENDLIMIT"),
    (b"CHILDREN", "commands.cmd_list", "", ""),
    (b"ENABLE", "ext.enable", "", ""),
    (b"ESEARCH", "ext.esearch", "", ""),
    (b"I18NLEVEL=1", "commands.cmd_search", "", ""),
    (b"ID", "ext.id", "", ""),
    (b"IDLE", "ext.idle", "", ""),
    (b"MOVE", "ext.move", "", ""),
    (b"MULTIAPPEND", "commands.cmd_append", "", ""),
    (b"NAMESPACE", "ext.namespace", "", ""),
    (b"SORT", "ext.sort", "IMAP_DISABLETHREADSORT", ""),
    (b"THREAD=ORDEREDSUBJECT", "ext.thread", "IMAP_DISABLETHREADSORT", ""),
    (b"THREAD=REFERENCES", "ext.thread", "IMAP_DISABLETHREADSORT", ""),
    (b"UIDPLUS", "ext.uidplus", "", ""),
    (b"UNSELECT", "ext.unselect", "", ""),
    (b"UTF8=ACCEPT", "ext.utf8", "", ""),
)
PLUGGED: dict[str, dict[bytes, str]] = {
    "attributes": {},
    "create_params": {},
    "enable": {b"UTF8=ACCEPT": "utf8"},
    "fetch_items": {},
    "fetch_modifiers": {},
    "list_options": {},
    "list_returns": {},
    "on_list": {},
    "on_selected": {},
    "on_updates": {},
    "search_keys": {},
    "search_returns": {b"ALL": "esearch", b"COUNT": "esearch", b"MAX": "esearch", b"MIN": "esearch"},
    "select_params": {},
    "status_items": {b"APPENDLIMIT": "appendlimit"},
    "store_modifiers": {},
    "tagged_code": {b"APPEND": "uidplus", b"COPY": "uidplus", b"MOVE": "uidplus"},
}
