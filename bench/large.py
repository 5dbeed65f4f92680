"""Rows on large messages: fetched in pieces, as phones and Thunderbird do, and what they cost in memory."""
from __future__ import annotations

import os
import time

from bench import corpus, procs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.client import Client
    from bench.lab import At
    from bench.rows import Figures

PIECE_OCTETS = 65536
MEGABYTE = 1_000_000
HEAD = (b"From: Ann <ann@example.org>\nSubject: large\nMessage-ID: <large@example.org>\nMIME-Version: 1.0\n"
        b"Content-Type: multipart/mixed; boundary=bb\n\n--bb\n\nhello\n--bb\nContent-Type: text/plain\n"
        b"Content-Transfer-Encoding: base64\n\n")
LINE = b"d29yZCBh" * 9 + b"\n"     # of words
TAIL = b"--bb--\n"


def _opened(at: At, megabytes: int) -> Client:
    """A session in a folder of its own with one message of that size."""
    maildir, owner = at.maildir("tiny"), at.server.owner(at.account("tiny"))
    folder = f"Large{megabytes}"
    path = os.path.join(maildir, "." + folder)
    if not os.path.exists(path):
        corpus.make_folder(path, owner)
        message = os.path.join(path, "cur", "1700000000.M1P1.mail:2,S")
        with open(message, "wb") as file:
            file.write(HEAD)
            for _ in range(megabytes * MEGABYTE // (1000 * len(LINE))):
                file.write(LINE * 1000)
            file.write(TAIL)
        with open(os.path.join(path, "maildirfolder"), "wb"):
            pass
        for made in (message, os.path.join(path, "maildirfolder")):
            corpus.give(made, owner)
        os.utime(message, (1_700_000_000, 1_700_000_000))
    return at.opened("tiny", folder)


def row_pieces(at: At) -> Figures:
    """All pieces of a message, one after the other, in a new session each time."""
    found = {}
    for key, part in (("21a", b""), ("21b", b"2")):
        client = _opened(at, at.scale.large[0])
        start, place = time.perf_counter(), 0
        command = b"UID FETCH 1 (BODY.PEEK[%s]<%d.%d>)"
        while client.drain(command % (part, place, PIECE_OCTETS)) > PIECE_OCTETS:
            place += PIECE_OCTETS
        found[key] = 1000 * (time.perf_counter() - start)
        client.logout()
        if place < at.scale.large[0] * MEGABYTE - PIECE_OCTETS:
            raise ValueError(f"row {key}: {at.server.name} gave {place} octets")
    return found


def row_peaks(at: At) -> Figures:
    """What the server's processes grow by at most, while they do one command."""
    found = {}
    piece = b"UID FETCH 1 (BODY.PEEK[2]<%d.1000>)" % (at.scale.large[1] * MEGABYTE // 2)
    for key, command in (("22a", b"UID FETCH 1 (BODY.PEEK[])"), ("22b", piece), ("22c", b"SEARCH BODY zebra"),
                         ("22d", b"UID FETCH 1 (RFC822.SIZE)")):
        at.forget("tiny")
        client = _opened(at, at.scale.large[1])
        before = procs.forget_peaks(at.server.roots())
        client.drain(command)
        found[key] = procs.grown(before) / 1000
        client.logout()
    return found
