"""Refused logins of LMTP count with those of IMAP and POP3: by address and by user."""
from __future__ import annotations

import os
from base64 import b64encode
from typing import NoReturn, cast

import pytest

from courierpy.auth import Rejected, Request, tries
from courierpy.auth.postal import Accounts
from courierpy.lmtp import logins
from courierpy.lmtp.client import Client
from courierpy.lmtp.grammar import Reply
from courierpy.lmtp.peer import Peer
from courierpy.system.settings import Settings


class NobodysAccounts:
    def ask(self, request: Request) -> NoReturn:
        raise Rejected


def test_delays_grow_for_the_address_and_for_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    table = tries.make()
    slept: list[float] = []
    monkeypatch.setattr(logins.time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(logins.time, "sleep", slept.append)
    settings = Settings({"LMTP_ADMINS": "ann", tries.VARIABLE: str(table)})

    def refuse(address: str, user: str) -> float:
        one = logins.Logins(cast(Client, None), settings, cast(Accounts, NobodysAccounts()))
        with pytest.raises(Reply):
            one.login(b"PLAIN " + b64encode(f"\0{user}\0wrong".encode()), Peer(False, "", address), False)
        return slept.pop()

    assert [refuse("192.0.2.1", f"user{number}") for number in range(4)] == [5, 5, 10, 20]
    assert [refuse(f"192.0.2.{number}", "ann") for number in range(2, 6)] == [5, 5, 10, 20]
    assert [refuse("", f"other{number}") for number in range(4)] == [5, 5, 5, 5]       # programs of this host
    assert round(tries.refused(table, ["user ann"])) == 5
    os.close(table)
