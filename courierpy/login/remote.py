"""What a login process asks the password helper: requests, and exchanges that need to know the account.

The mechanisms of OWN make a request of what the client says, and the helper checks that.  The others
compute with what only the modules know: those the helper does itself, and here is a generator that
stands for it (``mechanism``), as those of auth/sasl.py are.  See system/channels.py for the octets.
"""
from __future__ import annotations

from functools import partial

from courierpy.auth import Account, Rejected, Request, TemporaryFailure
from courierpy.auth.mechanisms import BY_TOKEN
from courierpy.auth.protocol import CLIENT, render_environ, render_request
from courierpy.system import channelbinding, channels
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.auth.mechanisms import Mechanism
    from courierpy.auth.sasl import Context, Exchange

OWN = frozenset((*BY_TOKEN, b"PLAIN", b"LOGIN", b"CRAM-MD5", b"CRAM-SHA1", b"CRAM-SHA256"))
# what a mechanism needs to know of a connection
NEEDED = (*CLIENT, "TCPLOCALIP", "TCPLOCALPORT", "IMAP_TLS", *channelbinding.VARIABLES.values())


class Granted(Account):
    """The helper has let it in: all that a login process knows of the account.  ``ticket``: b"" where the
    client is given away already.  ``options``: those that say where its mail is, if that may be another
    host."""

    __slots__ = ("ticket",)

    def __init__(self, address: str, ticket: bytes, options: str = "") -> None:
        super().__init__(address, -1, -1, "", options=options)
        self.ticket = ticket


class Question:
    """A step: ``kind`` and ``data`` as system/channels.py has them."""

    __slots__ = ("data", "kind")

    def __init__(self, kind: bytes, data: bytes) -> None:
        self.kind = kind
        self.data = data


class Answer:
    """To a question of an exchange.  ``user``: whom the client has named, "" for nobody.  One of the
    others is set: what decides it, or a ``challenge`` that goes on."""

    __slots__ = ("account", "challenge", "error", "user")

    def __init__(self, user: str, challenge: bytes = b"", account: Account | None = None,
                 error: Exception | None = None) -> None:
        self.user = user
        self.challenge = challenge
        self.account = account
        self.error = error


def of_request(request: Request, going: bytes = b"") -> Question:
    """Its ``data`` is to be wiped when it is sent.  ``going``: what goes before it where the client comes
    with the question.  Raises Rejected."""
    rendered = render_request(request)
    data = b"".join((going, render_environ(request.environ), rendered))
    wipe(rendered)
    return Question(channels.ASK_FOR if going else channels.ASK, data)


def answer(kind: bytes, data: bytes) -> Answer:
    """Of the octets of system/channels.py: whom it names, a NUL, and what follows."""
    name, _, rest = data.partition(b"\0")
    user = name.decode("utf-8", "surrogateescape")
    if kind == channels.GRANTED:
        address, _, options = rest[channels.TICKET_OCTETS:].decode("utf-8", "surrogateescape").partition("\0")
        return Answer(user, account=Granted(address, rest[:channels.TICKET_OCTETS], options))
    if kind == channels.BEGUN:
        return Answer(user, account=Granted(rest.decode("utf-8", "surrogateescape"), b""))
    if kind == channels.CHALLENGE:
        return Answer(user, rest)
    return Answer(user, error=Rejected() if kind == channels.REFUSED else
                  TemporaryFailure("the password helper cannot tell"))


def mechanism(name: bytes) -> Mechanism:
    """As the mechanism of this name itself, but in the helper."""
    return partial(_exchange, name)


def _exchange(name: bytes, context: Context, initial: bytes | None) -> Exchange:
    question = Question(channels.BEGIN, _begin(name, context, initial))
    while True:
        found: Answer = yield question
        if found.user:
            context.names(found.user)
        if found.error is not None:
            raise found.error
        if found.account is not None:
            return found.account
        question = Question(channels.GO_ON, (yield found.challenge))


def _begin(name: bytes, context: Context, initial: bytes | None) -> bytes:
    environ: Mapping[str, str] = context.environ
    known = {key: environ[key] for key in NEEDED if environ.get(key)}
    known.update({channels.SERVICE: context.service, channels.EXTERNAL: context.external,
                  channels.MECHANISM: name.decode()})
    variables = channels.pack(known)
    told = b" ".join(context.told)
    return b"".join((channels.BEGINS.pack(len(variables), len(told), initial is not None), variables, told,
                     initial or b""))
