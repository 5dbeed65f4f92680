"""What is implemented, and what of it is told.

IMAP_CAPABILITY (IMAP_CAPABILITY_TLS under TLS) chooses from what is implemented:
``all``, or nothing, is all of it; a list is what it names; ``+X`` and ``-X`` change
that, ``-IDLE -THREAD`` is all but these.
"""
from __future__ import annotations

import os

from courierpy.auth import mechanisms
from courierpy.auth.mechanisms import BINDS
from courierpy.imap.ext import index
from courierpy.model import utf7
from courierpy.model.regex import later
from courierpy.system.starttls import starttls_offered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.settings import Settings


def _there() -> tuple[tuple[bytes, str, str, str], ...]:
    """The rows of the index whose file is there: nothing is told that nobody does."""
    here = os.path.dirname(__file__)
    try:
        files = {f"{room}.{name.partition('.')[0]}" for room in ("commands", "ext")
                 for name in os.listdir(os.path.join(here, room))}
    except OSError:
        return index.CAPABILITIES      # in an archive, of which nobody takes a file
    return tuple(row for row in index.CAPABILITIES if row[1] in files)


CAPABILITIES = _there()
# What is the grammar's and the login's own; all else belongs to the file that does it.
CORE = (b"IMAP4rev1", b"LITERAL+", b"LITERAL-", b"SASL-IR")
BEFORE_LOGIN = (b"SASL-IR",)   # says nothing to a client that never logs in (RFC 4959 3)
# In the order in which they are told.  What is told by its number alone, or only where a setting
# names it, is no part of IMPLEMENTED.
KNOWN = CORE + tuple(word for word, _, _, _ in CAPABILITIES)
IMPLEMENTED = tuple(word for word in KNOWN
                    if word not in index.WITHHELD and not word.endswith(b"=") and not word.startswith(b"X"))
# Courier's own, told where their settings are on, whatever is listed, unless they are taken back
PRIVATE = tuple(word.upper() for word in KNOWN if word.startswith(b"X"))
MECHANISMS = (b"AUTH=PLAIN", b"AUTH=LOGIN", b"AUTH=CRAM-MD5", b"AUTH=CRAM-SHA1", b"AUTH=CRAM-SHA256",
              b"AUTH=SCRAM-SHA-1", b"AUTH=SCRAM-SHA-1-PLUS", b"AUTH=SCRAM-SHA-256",
              b"AUTH=SCRAM-SHA-256-PLUS", b"AUTH=OAUTHBEARER", b"AUTH=XOAUTH2")
# told where they are configured and not taken back, whatever else is named
BY_TOKEN = tuple(b"AUTH=" + name for name in mechanisms.BY_TOKEN)
DEFAULT_MECHANISMS = (b"AUTH=PLAIN", b"AUTH=LOGIN")
BY_IMAP_ACL = "+ACL +RIGHTS +ACL2 "
_ATOM = later(rb"[!#-'+-\[^-z|}~]+")
ALTERNATIVES = {b"LITERAL+": b"LITERAL-", b"LITERAL-": b"LITERAL+"}    # one of the two (RFC 7888 5)


def family(word: bytes) -> list[bytes]:
    """The capabilities, in upper case, that a word of a setting means: itself, or as ``THREAD`` and
    ``AUTH`` all that begin so; of a mechanism also its form that binds to the channel."""
    return [known for name in KNOWN + MECHANISMS
            if (known := name.upper()) in (word, word + BINDS) or known.startswith(word + b"=")]


def choose(text: str) -> frozenset[bytes]:
    """What a value of IMAP_CAPABILITY allows, in upper case.

    Words of the form ``AUTH=`` are a list of their own: without any the mechanisms are the default
    ones, and they alone do not make the value a list of capabilities.
    """
    words = text.upper().encode("ascii", "replace").split()
    plain = [word for word in words if word[:1] not in (b"+", b"-") and word != b"ALL"]
    listed = {word for word in plain if not word.startswith(b"AUTH=")}
    named = {known for word in plain if word not in listed for known in (word, *family(word))}
    if not listed or b"ALL" in words:
        listed = {word.upper() for word in KNOWN if word not in index.WITHHELD}
    chosen = listed | (named or set(DEFAULT_MECHANISMS)) | set(BY_TOKEN) | set(PRIVATE)
    for word in words:
        if word[:1] == b"+":
            chosen.update(family(word[1:]))
            chosen.discard(ALTERNATIVES.get(word[1:], b""))
        elif word[:1] == b"-":
            chosen.difference_update(family(word[1:]))
    if b"LITERAL+" in chosen:
        chosen.discard(b"LITERAL-")
    return frozenset(chosen)


def allowed(settings: Settings, tls: bool) -> frozenset[bytes]:
    """What may be told, in upper case.  Where IMAP_ACL is set lists of rights are told besides a list, as
    Courier does, in whose files no list names them."""
    text = (settings.text("IMAP_CAPABILITY_TLS") if tls else "") or settings.text("IMAP_CAPABILITY")
    return choose(BY_IMAP_ACL + text if settings.values.get("IMAP_ACL") else text)


# What decides: the stage, the settings and the state that were asked for -> the answer.  The listener's is
# made once, and its children find it.
_KNOWN: dict[tuple[str | bool | None, ...], bytes] = {}
_DECIDE = ("IMAP_CAPABILITY", "IMAP_CAPABILITY_TLS", "SMAP_CAPABILITY", "IMAP_KEYWORDS",
           *{setting.lstrip("!").rpartition("{")[2].rstrip("}")
             for row in CAPABILITIES for setting in row[2:] if setting})
_DECIDE_LOGIN = (*_DECIDE, "IMAP_LOGIN_REFERRALS", "IMAP_PROXY", "IMAP_STARTTLS", "IMAP_TLS_REQUIRED",
                 "TLS_CERTFILE", "TLS_EXTERNAL")


def stage_of(settings: Settings) -> str:
    """Of a session: "session" behind a login of ours or of Courier, else "preauth"."""
    return "session" if settings.text("IMAPLOGINTAG") else "preauth"


def line(settings: Settings, stage: str, tls: bool) -> bytes:
    """``capabilities`` with blanks between."""
    if stage == "login" and (tls or mechanisms.takes_tokens(settings)):
        # the client's certificate has a word in it, or its address
        return b" ".join(capabilities(settings, stage, tls))
    key = (stage, tls, *map(settings.values.get, _DECIDE_LOGIN if stage == "login" else _DECIDE))
    found = _KNOWN.get(key)
    if found is None:
        found = _KNOWN[key] = b" ".join(capabilities(settings, stage, tls))
    return found


def _value(settings: Settings, value: str) -> bytes:
    """What is told behind the equals sign; b"" where nothing is.  ``value``: as of Extension."""
    before, text_of, name = value.rstrip("}").partition("{")
    if not text_of:
        number = settings.number(value)
        return b"%d" % number if number and "=" not in settings.text(value) else b""
    text = utf7.encode(before + settings.text(name))
    return text if settings.text(name) and _ATOM.fullmatch(text) else b""


def capabilities(settings: Settings, stage: str, tls: bool) -> list[bytes]:
    """``stage``: "login" before, "session" after the login, "preauth" without one."""
    allow = allowed(settings, tls)
    words = [word for word in KNOWN if word.upper() in allow or word == b"IMAP4rev1"]
    for word, _, off, value in CAPABILITIES:
        if word in words and off and settings.says(off.lstrip("!")) != off.startswith("!"):
            words.remove(word)
        elif word in words and value and (told := _value(settings, value)):
            words[words.index(word)] = word.rstrip(b"=") + b"=" + told
        elif word in words and word.endswith(b"="):
            words.remove(word)
    if settings.text("SMAP_CAPABILITY"):
        words += settings.text("SMAP_CAPABILITY").encode("ascii", "replace").split()
        if settings.number("IMAP_KEYWORDS"):
            words.append(b"KEYWORDS")
    if stage != "login":
        return [word for word in words if stage == "session" or word not in BEFORE_LOGIN]
    if settings.flag("IMAP_LOGIN_REFERRALS") and not settings.flag("IMAP_PROXY"):
        words.append(b"LOGIN-REFERRALS")
    starttls = starttls_offered(settings, tls)
    if starttls:
        words.append(b"STARTTLS")
    if starttls and settings.flag("IMAP_TLS_REQUIRED"):
        words.append(b"LOGINDISABLED")
    else:
        words.extend(word for word in MECHANISMS
                     if word in allow and mechanisms.usable(word[5:], settings, tls))
    if tls and settings.text("TLS_EXTERNAL") and settings.external_identity():
        words.append(b"AUTH=EXTERNAL")
    return words
