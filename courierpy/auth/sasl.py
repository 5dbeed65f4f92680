"""SASL mechanisms of the server side, sans-IO.

A mechanism gives a generator.  It yields a challenge (bytes, not yet base64), and is sent the
response; or a Request for the modules, and is sent the Account, or their Rejected or TemporaryFailure
is thrown into it.  (What else one yields is for who drives it; see login/remote.py.)  It returns the
Account, or raises one of these.  ``initial`` is the response that came with the command.
RFC 4616, RFC 2195, RFC 4422 appendix A; SCRAM is in scram.py, the table in mechanisms.py.
"""
from __future__ import annotations

import os
from base64 import b64encode

from courierpy.auth import Account, Rejected, Request, principals, with_domain
from courierpy.system import channelbinding
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping
    from typing import Any

    Exchange = Generator[bytes | Request | Any, Any, Account]


class Context:
    """What a mechanism needs of the login: service, environment, identity.

    ``user``: whom the client named, for the log; None as long as it named nobody.  ``told``: the
    mechanisms that the client was told of.  ``secret``: the password that it said, kept where ``keeps``
    wants that: whoever set it wipes it.
    """

    def __init__(self, service: str, environ: Mapping[str, str], external: str = "",
                 keeps: bool = False) -> None:
        self.keeps = keeps
        self.secret = ""
        self.service = service
        self.environ = environ
        self.external = external
        self.user: str | None = None
        self.told: Collection[bytes] = ()

    @property
    def bindings(self) -> dict[str, bytes]:
        """What the TLS connection is known by at both of its ends."""
        return channelbinding.known(self.environ)

    def names(self, user: bytes | str) -> None:
        self.user = user if isinstance(user, str) else user.decode("utf-8", "surrogateescape")

    def login(self, user: bytes, password: bytes) -> Exchange:
        self.names(user)
        name, secret = text_of(user), text_of(password)
        try:
            if not name or not secret:
                raise Rejected
            account: Account = yield Request("login", self.service, self.environ,
                                             user=with_domain(name, self.environ), password=secret)
            if self.keeps:
                self.secret, secret = secret, ""
            return account
        finally:
            wipe(secret)

    def token(self, user: bytes, token: bytes) -> Exchange:
        """The account of an access token.  ``user``: whose the client says it is; b"" if it says nothing."""
        name, secret = text_of(user), text_of(token)
        try:
            account: Account = yield Request("token", self.service, self.environ, password=secret,
                                             user=with_domain(name, self.environ) if name else "")
            return account
        finally:
            wipe(secret)

    def lookup(self, user: str) -> Exchange:
        account: Account = yield Request("pre", self.service, self.environ, user=user)
        return account


def text_of(data: bytes) -> str:
    """Of UTF-8 without controls.  Raises Rejected."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Rejected from None
    if not text.isprintable() and any(ord(char) < 32 or ord(char) == 127 for char in text):
        wipe(text)
        raise Rejected
    return text


def itself(wanted: bytes | str, user: bytes | str) -> None:
    """Nobody may log in with his own password and be somebody else (RFC 4616 2: authzid)."""
    if wanted and wanted != user:
        raise Rejected


def plain(context: Context, initial: bytes | None) -> Exchange:
    data = initial if initial is not None else (yield b"")
    parts = data.split(b"\0")
    try:
        if len(parts) != 3:
            raise Rejected
        wanted, user, password = parts
        context.names(user)
        itself(wanted, user)
        return (yield from context.login(user, password))
    finally:
        wipe(*parts)


def login(context: Context, initial: bytes | None) -> Exchange:
    user = initial if initial is not None else (yield b"Username:")
    context.names(user)
    password = yield b"Password:"
    return (yield from context.login(user, password))


def cram(kind: str, context: Context, initial: bytes | None) -> Exchange:
    challenge = f"<{os.urandom(16).hex().upper()}@{os.uname().nodename}>".encode()
    response = yield challenge
    context.names(response.rpartition(b" ")[0])
    account: Account = yield Request(f"cram-{kind}", context.service, context.environ,
                                     challenge=b64encode(challenge).decode(),
                                     response=b64encode(response).decode())
    return account


def external(context: Context, initial: bytes | None) -> Exchange:
    """The user is who the client's certificate says, or whom EXTERNAL_MAP has for that."""
    asked = initial if initial is not None else (yield b"")
    context.names(asked or context.external)
    if not context.external:
        raise Rejected
    user = principals.user_of(context.external, context.environ.get(principals.VARIABLE, ""))
    if asked and text_of(asked) != user:
        raise Rejected
    context.names(user)
    return (yield from context.lookup(user))
