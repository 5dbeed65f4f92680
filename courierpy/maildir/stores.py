"""The Maildir that an account had in its last session of this process, opened again.

What a Store is made of follows from the settings, the account, and whether it is a Maildir++.  Where the
first two are the same, one look says the third, and the Store is as one that was just made: its parts forget
what they knew (``Store.begin``).  Layouts that are found out by reading directories, and an index that has
its place by the real path of the Maildir, are found anew.
"""
from __future__ import annotations

import os

from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.options import of_own
from courierpy.maildir.store import Store
from courierpy.system import concluded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from courierpy.system.settings import Settings

ACCOUNTS = 64
OF_ACCOUNT = ("HOME", "OPTIONS", "MAILDIRQUOTA")       # variables that Store.of() asks for


class _Kept:
    """``own``: what the settings say, the same object for the same settings; ``words``: what else it was made
    of."""

    __slots__ = ("own", "store", "words")

    def __init__(self, own: Mapping[str, Any], words: tuple[str | None, ...], store: Store) -> None:
        self.own = own
        self.words = words
        self.store = store


_kept: dict[str, _Kept] = {}       # by user, who was served last at the end


def forget() -> None:
    """No account has been here."""
    _kept.clear()


def opened(settings: Settings, host: str | None, user: str) -> tuple[Store, bool]:
    """As Store.of(), and is there anything of a Maildir?  Raises a store error."""
    own = concluded.of(settings, of_own)
    words = host, *map(settings.values.get, OF_ACCOUNT)
    kept = _kept.pop(user, None)
    if kept is not None and kept.own is own and kept.words == words and os.path.isdir("cur"):
        kept.store.begin()
        _kept[user] = kept
        return kept.store, True
    store = Store.of(settings, host, user)
    if isinstance(store.layout, MaildirPlusPlus) and not store.options.index_at:
        _kept[user] = _Kept(own, words, store)
        while len(_kept) > ACCOUNTS:
            del _kept[next(iter(_kept))]
    return store, store.layout.is_there()
