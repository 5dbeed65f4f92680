"""An IMAP server for tests: started in a moment on ports that the kernel chooses, gone with the test run.

    from courierpy.testing import Server

    with Server() as server:
        account = server.account()
        account.deliver(b"Subject: hello\\n\\ntext\\n")
        client = imaplib.IMAP4(account.host, account.port)

With pytest the fixtures ``imap_server`` and ``imap_account`` are there at once (plugin.py).  docs/testing.md
Nothing is loaded before it is asked for: the plugin is imported by every pytest of an installation.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.testing.account import Account as Account
    from courierpy.testing.account import Mailbox as Mailbox
    from courierpy.testing.account import Message as Message
    from courierpy.testing.guard import ServerError as ServerError
    from courierpy.testing.server import Server as Server

_PLACES = {"Account": "account", "Mailbox": "account", "Message": "account", "Server": "server",
           "ServerError": "guard"}
__all__ = ["Account", "Mailbox", "Message", "Server", "ServerError"]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib
    found: object = getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    return found
