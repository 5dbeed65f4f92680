"""What is implemented, and what of it is told.

IMAP_CAPABILITY (IMAP_CAPABILITY_TLS under TLS) is an allow-list over what is
implemented; unset or empty it allows all of it.
"""
from __future__ import annotations

import os

from courierpy.imap.ext.index import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.settings import Settings

# What is the grammar's and the login's own; all else belongs to the file that does it.
CORE = (b"IMAP4rev1", b"LITERAL+", b"LITERAL-", b"SASL-IR")
# In the order in which they are told.
IMPLEMENTED = CORE + tuple(word for word, _, _, _ in CAPABILITIES)
MECHANISMS = (b"AUTH=PLAIN", b"AUTH=LOGIN", b"AUTH=CRAM-MD5", b"AUTH=CRAM-SHA1",
              b"AUTH=CRAM-SHA256", b"AUTH=SCRAM-SHA-256")
DEFAULT_MECHANISMS = (b"AUTH=PLAIN", b"AUTH=LOGIN")


def allowed(settings: Settings, tls: bool) -> frozenset[bytes] | None:
    """The allow-list in upper case; None allows everything."""
    text = (settings.text("IMAP_CAPABILITY_TLS") if tls else "") or settings.text("IMAP_CAPABILITY")
    words = text.upper().encode("ascii", "replace").split()
    return frozenset(words) if words else None


def starttls_offered(settings: Settings, tls: bool) -> bool:
    """IMAP_STARTTLS (set by the listener) and a certificate to do it with."""
    return not tls and settings.yes("IMAP_STARTTLS") and os.path.exists(settings.text("TLS_CERTFILE"))


# What decides: the settings and the state that were asked for -> the answer.  The listener's is
# made once, and its children find it.
_KNOWN: dict[tuple[str | bool | None, ...], bytes] = {}
_DECIDE = ("IMAP_CAPABILITY", "IMAP_CAPABILITY_TLS", "IMAP_STARTTLS", "IMAP_TLS_REQUIRED", "TLS_CERTFILE",
           "TLS_EXTERNAL", *{setting for row in CAPABILITIES for setting in row[2:] if setting})


def line(settings: Settings, stage: str, tls: bool) -> bytes:
    """``capabilities`` with blanks between."""
    if tls and stage == "login":
        return b" ".join(capabilities(settings, stage, tls))   # the client's certificate has a word in it
    key = (stage, tls, *map(settings.values.get, _DECIDE))
    found = _KNOWN.get(key)
    if found is None:
        found = _KNOWN[key] = b" ".join(capabilities(settings, stage, tls))
    return found


def capabilities(settings: Settings, stage: str, tls: bool) -> list[bytes]:
    """``stage``: "login" before, "session" after the login."""
    allow = allowed(settings, tls)
    words = [word for word in IMPLEMENTED
             if allow is None or word.upper() in allow or word == b"IMAP4rev1"]
    if b"LITERAL+" in words:
        words = [word for word in words if word != b"LITERAL-"]        # one of the two (RFC 7888 5)
    for word, _, off, value in CAPABILITIES:
        if word in words and off and settings.flag(off):
            words.remove(word)
        elif word in words and value and settings.number(value):
            words[words.index(word)] = b"%s=%d" % (word, settings.number(value))
    if stage != "login":
        return words
    starttls = starttls_offered(settings, tls)
    if starttls:
        words.append(b"STARTTLS")
    if starttls and settings.flag("IMAP_TLS_REQUIRED"):
        words.append(b"LOGINDISABLED")
    elif allow is None or not any(word.startswith(b"AUTH=") for word in allow):
        words.extend(DEFAULT_MECHANISMS)
    else:
        words.extend(word for word in MECHANISMS if word in allow)
    if tls and settings.text("TLS_EXTERNAL") and settings.external_identity():
        words.append(b"AUTH=EXTERNAL")
    return words
