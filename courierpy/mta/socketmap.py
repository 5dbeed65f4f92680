"""Sendmail's socketmap, as Postfix speaks it too (socketmap_table(5)): netstrings both ways.

``MAP KEY`` is answered ``OK value``, ``NOTFOUND ``, ``TEMP reason`` or ``PERM reason``.  The name of the map
matters little: EXISTS asks whether there is such a recipient, any other one also whether there is room.
"""
from __future__ import annotations

import re

from courierpy.lmtp.grammar import Reply
from courierpy.mta.question import Broken, Question

NAME = "socketmap"
EXISTS = b"exists"             # name of a map
MOST = 10000                   # octets of a request
_LENGTH = re.compile(rb"([0-9]{1,9}):")
_BEGINNING = re.compile(rb"[0-9]{0,9}")


def cut(data: bytes) -> tuple[Question | None, int]:
    """(a question, the octets that it takes), None as long as it is not whole.  Raises Broken."""
    match = _LENGTH.match(data)
    if match is None:
        if _BEGINNING.fullmatch(data):
            return None, 0
        raise Broken(_netstring(b"PERM a netstring was expected"))
    length, start = int(match[1]), match.end()
    if length > MOST:
        raise Broken(_netstring(b"PERM the request is too long"))
    if len(data) <= start + length:
        return None, 0
    if data[start + length:start + length + 1] != b",":
        raise Broken(_netstring(b"PERM a comma was expected behind a netstring"))
    name, _, key = data[start:start + length].partition(b" ")
    return Question(key, only_exists=name == EXISTS), start + length + 1


def answer(question: Question, reply: Reply | None) -> bytes:
    """``reply``: of LMTP to such a recipient; None for a question that asks of nobody."""
    if reply is None or not reply.done and reply.code >= 500 and reply.status in NOBODY:
        return _netstring(b"NOTFOUND ")
    if reply.done:
        return _netstring(b"OK " + question.address)
    return _netstring((b"TEMP" if reply.code < 500 else b"PERM") + reply.words[3:])


# no such user; no such mailbox, or none that takes mail: Postfix tries again where it hears PERM
NOBODY = ("5.1.1", "5.2.1")


def _netstring(text: bytes) -> bytes:
    return b"%d:%s," % (len(text), text)
