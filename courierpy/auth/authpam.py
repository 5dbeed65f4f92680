"""Accounts of the system, checked by PAM (extra ``pam``: python-pam)."""
from __future__ import annotations

from courierpy.auth import Account, Rejected, Request, TemporaryFailure
from courierpy.auth.authpwd import account_of


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
        if not checker.authenticate(request.user, request.password, service=request.service):
            raise Rejected
        account.passwd2 = request.password
    return account
