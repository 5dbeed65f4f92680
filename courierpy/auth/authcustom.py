"""A Python callable of the administrator's: AUTHCUSTOM=package.module:function.

It is called with the Request and gives an Account (its password checked), or
raises Rejected or TemporaryFailure.
"""
from __future__ import annotations

import importlib

from courierpy.auth import Account, Rejected, Request, TemporaryFailure


def lookup(request: Request) -> Account:
    name = request.environ.get("AUTHCUSTOM", "")
    module, colon, function = name.partition(":")
    if not colon:
        raise TemporaryFailure("AUTHCUSTOM must be module:function")
    try:
        account = getattr(importlib.import_module(module), function)(request)
    except (Rejected, TemporaryFailure):
        raise
    except Exception as error:  # the administrator's code: its bug must not let anybody in
        raise TemporaryFailure(f"AUTHCUSTOM {name}: {type(error).__name__}: {error}") from None
    if not isinstance(account, Account):
        raise TemporaryFailure(f"AUTHCUSTOM {name}: gave no Account")
    return account
