"""Accounts of the system, checked by PAM (extra ``pam``: python-pam).

The service is that of the login, ``imap``; a host that has no rules for it has them for ``login``,
where PAM itself would refuse everybody.
"""
from __future__ import annotations

import os

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, Unservable
from courierpy.auth.authpwd import account_of

RULES = ("/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d")
# results of PAM, as Linux-PAM's _pam_types.h numbers them
CANNOT_TELL = frozenset({
    1, 2, 3, 4, 5,                 # a module could not be loaded, or failed
    9,                             # AUTHINFO_UNAVAIL: what the module would ask does not answer
    24, 26, 28,                    # INCOMPLETE, ABORT, MODULE_UNKNOWN
})
EXPIRED = frozenset({12, 13})      # NEW_AUTHTOK_REQD: of the password; ACCT_EXPIRED: of the account


def service_of(name: str) -> str:
    """The PAM service whose rules are to be asked."""
    known = any(os.path.exists(os.path.join(folder, name)) for folder in RULES)
    return name if known or "/" in name or not any(map(os.path.isdir, RULES)) else "login"


def lookup(request: Request) -> Account:
    if request.kind.startswith("cram-"):
        raise Rejected
    account = account_of(request.user)
    if request.kind == "login":
        _ask(request)
        account.passwd2 = request.password
    return account


def _ask(request: Request) -> None:
    """Asks PAM for user and password.  Raises Rejected, Unservable where only the time is over, and
    TemporaryFailure where PAM cannot tell."""
    try:
        import pam
    except ImportError:
        raise TemporaryFailure("authpam: python-pam is not installed") from None
    checker, service = pam.pam(), service_of(request.service)
    if checker.authenticate(request.user, request.password, service=service):
        return
    if checker.code in CANNOT_TELL:
        raise TemporaryFailure(f"authpam: PAM, service {service}: {checker.reason}")
    if checker.code in EXPIRED:
        raise Unservable(f"authpam: {request.user}: {checker.reason}")
    raise Rejected
