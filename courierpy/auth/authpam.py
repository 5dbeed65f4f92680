"""Accounts of the system, checked by PAM (extra ``pam``: python-pam).

The service is that of the login, ``imap``; a host that has no rules for it has them for ``login``,
where PAM itself would refuse everybody.
"""
from __future__ import annotations

import os

from courierpy.auth import Account, Rejected, Request, TemporaryFailure
from courierpy.auth.authpwd import account_of

RULES = ("/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d")


def service_of(name: str) -> str:
    """The PAM service whose rules are to be asked."""
    known = any(os.path.exists(os.path.join(folder, name)) for folder in RULES)
    return name if known or "/" in name or not any(map(os.path.isdir, RULES)) else "login"


def lookup(request: Request) -> Account:
    if request.kind.startswith("cram-"):
        raise Rejected
    account = account_of(request.user)
    if request.kind == "login":
        try:
            import pam
        except ImportError:
            raise TemporaryFailure("authpam: python-pam is not installed") from None
        checker = pam.pam()
        if not checker.authenticate(request.user, request.password, service=service_of(request.service)):
            raise Rejected
        account.passwd2 = request.password
    return account
