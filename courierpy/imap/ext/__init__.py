"""Extensions: one record each, plugged into the seams of the centre.

The centre asks ``find(seam, key)`` and knows no extension by name.  Which
extension answers is plain data (``index.py``), so that its file is loaded only
when somebody uses it.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

SEAMS = ("enable", "fetch_items", "on_updates", "search_keys", "search_returns", "select_params",
         "status_items")


class Extension:
    """What one extension adds.

    ``names``: its capabilities (RFC in the file's docstring).  ``commands``: the
    command names its file decorates.  ``enable``: token of ENABLE -> function
    (session).  ``fetch_items``: item -> function (session, seq) giving the
    bytes of the value.  ``on_updates``: token of ENABLE -> function (session, list of Update)
    giving the list that is told where that is enabled.  ``search_keys``: key -> (parser of args, test of
    (session, seq, value)).  ``search_returns``: result option -> function of the
    ascending numbers found, giving bytes or None.  ``select_params``: parameter -> function
    (session, args).  ``status_items``: item -> function (session, folder,
    Status) giving bytes.
    """

    __slots__ = ("commands", "enable", "fetch_items", "names", "on_updates", "search_keys",
                 "search_returns", "select_params", "status_items")

    def __init__(self, *names: bytes, commands: tuple[bytes, ...] = (),
                 enable: Mapping[bytes, Callable[..., Any]] | None = None,
                 fetch_items: Mapping[bytes, Callable[..., bytes]] | None = None,
                 on_updates: Mapping[bytes, Callable[..., Any]] | None = None,
                 search_keys: Mapping[bytes, tuple[Callable[..., Any], Callable[..., bool]]] | None = None,
                 search_returns: Mapping[bytes, Callable[[list[int]], bytes | None]] | None = None,
                 select_params: Mapping[bytes, Callable[..., Any]] | None = None,
                 status_items: Mapping[bytes, Callable[..., bytes]] | None = None) -> None:
        self.names = names
        self.commands = commands
        self.enable = enable or {}
        self.fetch_items = fetch_items or {}
        self.on_updates = on_updates or {}
        self.search_keys = search_keys or {}
        self.search_returns = search_returns or {}
        self.select_params = select_params or {}
        self.status_items = status_items or {}


def keys(seam: str) -> Mapping[bytes, str]:
    """What is plugged into ``seam``: key -> name of the extension's file."""
    from courierpy.imap.ext.index import PLUGGED
    return PLUGGED[seam]


def find(seam: str, key: bytes) -> Any:
    """What an extension put into ``seam`` under ``key``, or None."""
    module = keys(seam).get(key)
    if module is None:
        return None
    record: Extension = load(module)
    return getattr(record, seam)[key]


def load(module: str) -> Extension:
    """The record of the extension in ``ext/<module>.py``."""
    import importlib
    record: Extension = importlib.import_module(f"courierpy.imap.ext.{module}").EXTENSION
    return record
