"""Accounts of the system, with the hash in the passwd database itself."""
from __future__ import annotations

import pwd

from courierpy.auth import Account, Rejected, Request, passwords


def account_of(user: str) -> Account:
    """The system account, ``passwd`` as the passwd database has it.  Raises Rejected."""
    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):
        raise Rejected from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, username=entry.pw_name,
                   name=entry.pw_gecos.partition(",")[0], passwd=entry.pw_passwd)


def lookup(request: Request) -> Account:
    if request.kind.startswith("cram-"):
        raise Rejected
    account = account_of(request.user)
    if request.kind == "login":
        if len(account.passwd) < 2 or not passwords.verify(account.passwd, request.password):
            raise Rejected
        account.passwd2 = request.password
    return account
