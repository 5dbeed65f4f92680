"""LANGUAGE before and after the login: in which language the texts of replies are.  RFC 5255 3.

All texts are English in ASCII, which is right for the international default too (RFC 2277 4.5): to choose
one of the two is granted, changes nothing, and is no state of a connection.  The prefixes of the
namespaces have no other spelling in them, so no NAMESPACE follows (RFC 5255 3.4).
"""
from __future__ import annotations

import re

from courierpy.imap.grammar import lines, out
from courierpy.model.replies import No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args

LANGUAGES = (b"en", b"i-default")
PREFERRED = LANGUAGES[0]
_RANGE = re.compile(rb"(?:\*|[A-Za-z]{1,8})(?:-(?:\*|[A-Za-z0-9]{1,8}))*")     # RFC 4647 2.2


def answer(args: Args) -> tuple[bytes, str]:
    """The untagged LANGUAGE line, and the text of the tagged OK.  RFC 5255 3.2.

    Raises Bad for what is no language range, and No where none of them is spoken here.
    """
    ranges = args.astrings(_RANGE, "range of languages")
    if not ranges:
        return _line(*LANGUAGES), "Supported languages have been enumerated"
    for wanted in ranges:
        found = _found(wanted.lower())
        if found:
            return _line(found), "Now speaking English"
    raise No(f"Unsupported language {ranges[0].decode()[:40]}")


def _found(wanted: bytes) -> bytes:
    """The language of a range in lower case: by lookup, the end of it given up word by word; b"" for none.
    RFC 4647 3.4."""
    if wanted == b"default" or wanted.startswith(b"*"):
        return PREFERRED
    while wanted and wanted not in LANGUAGES:
        wanted = wanted.rpartition(b"-")[0]
    return wanted


def _line(*languages: bytes) -> bytes:
    return lines.data(b"LANGUAGE", b"(%s)" % b" ".join(map(out.astring, languages)))
