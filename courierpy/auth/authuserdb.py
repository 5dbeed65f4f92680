"""Accounts of a userdb text file.  Courier's fields; no makeuserdb step.

``name<TAB>field=value|field=value``.  USERDB names the file; it must not be
readable or writable by others.  ``clearpw`` (ours) holds a clear password for
CRAM and SCRAM.
"""
from __future__ import annotations

import os
import stat

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, cram, passwords

DEFAULT = "/etc/courier/userdb"
# the same work for a name that is not there
DUMMY = "$1$lablab$Jg3mZZP1pMW2VsmI8HYBF/"


def lookup(request: Request) -> Account:
    user = request.user
    if request.kind.startswith("cram-"):
        user = cram.parts(request)[1]
    records = read(request.environ.get("USERDB") or DEFAULT)
    fields = records.get(user)
    if fields is None:
        if request.kind == "login":
            passwords.verify(next((secret for other in records.values() if
                                   (secret := _secret(other, request.service))), DUMMY), request.password)
        raise Rejected
    account = _account(user, fields, request.service)
    if request.kind == "login":
        if not request.password or not (account.passwd and passwords.verify(account.passwd, request.password)
                                        or account.passwd2 and account.passwd2 == request.password):
            raise Rejected
        account.passwd2 = request.password
    elif request.kind.startswith("cram-"):
        cram.verify(account, request)
    return account


def read(path: str) -> dict[str, dict[str, str]]:
    """name -> fields.  Raises TemporaryFailure, Rejected when there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            found = os.fstat(file.fileno())
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise TemporaryFailure(f"{path}: others can read or write it, mode must be 0600")
            text = file.read()
    except FileNotFoundError:
        raise Rejected from None
    except OSError as error:
        raise TemporaryFailure(f"{path}: {error.strerror}") from None
    records = {}
    for line in text.splitlines():
        name, tab, rest = line.partition("\t")
        if tab and not name.startswith("#"):
            pairs = (field.partition("=") for field in rest.strip().split("|"))
            records[name] = {key: value for key, _, value in pairs}
    return records


def _secret(fields: dict[str, str], service: str) -> str:
    return fields.get(f"{service}pw") or fields.get("systempw", "")


def _account(user: str, fields: dict[str, str], service: str) -> Account:
    try:
        return Account(user, int(fields["uid"]), int(fields["gid"]), fields["home"],
                       name=fields.get("gecos", ""), maildir=fields.get("mail", ""),
                       quota=fields.get("quota", ""), passwd=_secret(fields, service),
                       passwd2=fields.get("clearpw", ""), options=fields.get("options", ""))
    except (KeyError, ValueError):
        raise TemporaryFailure(f"userdb: {user}: uid, gid or home is missing or bad") from None
