"""Names of mailboxes as SMAP has them: a word for each level, any characters in it.

``INBOX`` is the mailbox, and the levels below are those of the user's own mailboxes; ``public`` has those of
other accounts.  What a level cannot hold on disk stands there as Courier writes it: a backslash and its
number in octal. """
from __future__ import annotations

import re

from courierpy.maildir.errors import NameInvalid
from courierpy.model.namespaces import INBOX, SHARED_PREFIXES
from courierpy.smap.grammar import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.maildir.store import Store

PUBLIC = "public"
_ODD = re.compile(r"[./~:\\]")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def level(word: bytes) -> str:
    """One level as it stands in the name of a mailbox.  Raises Bad."""
    return _ODD.sub(lambda char: f"\\{ord(char[0]):03o}", text_of(word))


def shown(text: str) -> str:
    """A level as clients are told it."""
    def char(match: re.Match[str]) -> str:
        found = chr(int(match[1], 8))
        return found if _ODD.match(found) else match[0]
    return _ESCAPED.sub(char, text)


def name(store: Store, words: Sequence[bytes]) -> str:
    """The mailbox of this path, there or not.  Raises NameInvalid, Bad."""
    if not words or not all(words):
        raise NameInvalid("an empty name")
    first, *levels = words
    if first == INBOX.encode():
        if not levels:
            return INBOX
        return store.namespaces.personal.name(store.layout.separator.join(map(level, levels)))
    if first == PUBLIC.encode() and levels:
        return SHARED_PREFIXES[0] + ".".join(map(level, levels))
    raise NameInvalid(f"no such namespace: {first!r}")


def split(words: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """(the words before the first empty one, those behind it)."""
    at = words.index(b"") if b"" in words else len(words)
    return list(words[:at]), list(words[at + 1:])


def levels(store: Store, name: str) -> list[str]:
    """The path of a mailbox that is there, with its first word."""
    if name.startswith(SHARED_PREFIXES[0]):
        return [PUBLIC, *map(shown, name[len(SHARED_PREFIXES[0]):].split("."))]
    namespace, path = store.resolve(name)
    return [INBOX, *map(shown, path.split(namespace.separator))] if path else [INBOX]
