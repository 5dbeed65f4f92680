"""Accounts of the system, with the hash in /etc/shadow (needs root)."""
from __future__ import annotations

import time

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, passwords
from courierpy.auth.authpwd import account_of
from courierpy.model.numbers import decimal

SHADOW = "/etc/shadow"


def lookup(request: Request) -> Account:
    if request.kind.startswith("cram-"):
        raise Rejected
    account = account_of(request.user)
    if request.kind == "login":
        try:
            with open(SHADOW, encoding="utf-8") as file:
                rows = (line.rstrip("\n").split(":") for line in file)
                row = next((row for row in rows if row[0] == account.username and len(row) >= 8), None)
        except OSError as error:
            raise TemporaryFailure(f"{SHADOW}: {error.strerror}") from None
        if row is None or _expired(row[7]) or not passwords.verify(row[1], request.password):
            raise Rejected
        account.passwd, account.passwd2 = row[1], request.password
    return account


def _expired(days: str) -> bool:
    """The account's last day, counted from 1970."""
    number = decimal(days)
    return number is not None and number * 86400 < time.time()
