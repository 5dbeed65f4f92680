"""Tokens of devices that are gone: whoever keeps them in a mailbox may, but nobody is told by them.

A file beside the queue, a line for each: when it was found gone, and a digest of it.
"""
from __future__ import annotations

import os
import time

from courierpy.model.numbers import decimal
from courierpy.system import log

FILE = "gone-tokens"
SECONDS = 30 * 86400           # after which one is tried again
MOST = 10000


class GoneTokens:
    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, FILE)
        self._found: dict[str, float] = {}
        try:
            with open(self._path, "rb") as file:
                lines = file.read(MOST * 100).decode("latin-1").splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            log.err(f"{self._path}: {error.strerror}")
            lines = []
        for line in lines:
            at, _, digest = line.partition(" ")
            seconds = decimal(at)
            if seconds is not None and digest:
                self._found[digest] = float(seconds)

    def knows(self, token: str) -> bool:
        at = self._found.get(_digest(token))
        return at is not None and time.time() - at < SECONDS

    def add(self, token: str) -> None:
        self._found.pop(_digest(token), None)
        self._found[_digest(token)] = time.time()
        while len(self._found) > MOST:
            del self._found[next(iter(self._found))]
        beside = self._path + ".new"
        try:
            with open(beside, "wb") as file:
                file.write("".join(f"{at:.0f} {digest}\n" for digest, at in self._found.items()).encode())
            os.rename(beside, self._path)
        except OSError as error:       # it is asked once more after the next start
            log.err(f"{self._path}: {error.strerror}")


def _digest(token: str) -> str:
    import hashlib
    return hashlib.sha256(token.encode()).hexdigest()
