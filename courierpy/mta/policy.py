"""Postfix's policy protocol (SMTPD_POLICY_README): lines ``name=value`` and an empty one; ``action=`` back.

Each request gets one answer.  Who is not known here is not refused here: an address that leads elsewhere may
be behind it, and who has no account is the business of the maps.
"""
from __future__ import annotations

import re

from courierpy.lmtp.grammar import Reply
from courierpy.model.numbers import decimal
from courierpy.mta.question import MOST_OCTETS, Broken, Question

NAME = "policy"
MOST = 65536                   # octets of a request
_END = re.compile(rb"\r?\n\r?\n")
_LINE = re.compile(rb"\r?\n")
KIND = (b"request", b"smtpd_access_policy")


def cut(data: bytes) -> tuple[Question | None, int]:
    """As socketmap.cut()."""
    blank = re.match(rb"\r?\n", data)
    end = blank or _END.search(data)           # an empty request is one, too
    if end is None or end.end() > MOST:
        if end is not None or len(data) > MOST:
            raise Broken(_action(b"DEFER_IF_PERMIT 4.3.0 The request is too long"))
        return None, 0
    values: dict[bytes, bytes] = {}
    for line in _LINE.split(data[:end.start()]):
        name, _, value = line.partition(b"=")
        values.setdefault(name, value)
    if values.get(KIND[0]) != KIND[1]:
        return Question(b""), end.end()
    octets = decimal(values.get(b"size", b""), MOST_OCTETS) or 0
    return Question(values.get(b"recipient", b""), octets), end.end()


def answer(question: Question, reply: Reply | None) -> bytes:
    """As socketmap.answer()."""
    if reply is None or reply.done or reply.status in ELSEWHERE:
        return _action(b"DUNNO")
    if reply.code >= 500 or reply.status in DECIDED:
        return _action(reply.words)
    return _action(b"DEFER_IF_PERMIT" + reply.words[3:])


# no such user; a user, as root, without a mailbox that could be opened: an alias may lead elsewhere
ELSEWHERE = ("5.1.1", "4.2.1")
DECIDED = ("4.2.2",)           # the mailbox is full; whatever else is 4xx may be let in by others, or refused


def _action(words: bytes) -> bytes:
    return b"action=%s\n\n" % words
