"""One connection before the login, whatever the protocol: its bounds, and who may come in.

A protocol's dialogue asks; the stage decides and writes the log.  Nothing is said to the client
here, and nothing waited for: what that takes are steps (model/steps.py), and whoever drives the
dialogue does them.
"""
from __future__ import annotations

import time

from courierpy.auth import (
    Rejected,
    TemporaryFailure,
    Unservable,
    gate,
    mechanisms,
    sasl,
    tries,
    with_domain,
)
from courierpy.login import start
from courierpy.model import measures
from courierpy.model.steps import Elsewhere, Forward, Look, NoPassword, Refused, Unreachable, Wait
from courierpy.system import log, metrics, notices
from courierpy.system.environ import of_transport
from courierpy.system.settings import from_environ
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from courierpy.auth import Account
    from courierpy.imap.dialogue import Client
    from courierpy.model.steps import Accepted, Speak, Steps
    from courierpy.system.settings import Settings

SECONDS = 60.0                 # for everything before the login
FAILURE_DELAY = gate.FIRST     # seconds until a refusal is answered, where IMAP_LOGIN_DELAY does not say


class Stage:
    """One client before its login.

    ``environ``: what the next program will get, and what the login was told; ``settings``: of that.
    ``client``: where the dialogue writes to.  ``peer``: the client, for the log.  ``tls``: is the connection
    encrypted?
    ``accepted``: another host's answer to the login, where the session is there."""

    def __init__(self, protocol: str, port: str, environ: dict[str, str], client: Client,
                 table: int | None = None, alike: Settings | None = None) -> None:
        """``protocol``, ``port``: of the service, where the environment does not say.  ``table``: of
        refused logins, see auth/tries.py; None: the environment names it.  ``alike``: settings that the
        environment has, and no other (system/concluded.py); None where they are not known."""
        environ.setdefault("TCPREMOTEIP", "127.0.0.1")
        environ.setdefault("TCPREMOTEPORT", "N/A")
        environ.setdefault("TCPLOCALPORT", port)
        environ.setdefault("PROTOCOL", protocol)
        self._protocol = protocol
        if protocol != "IMAP":
            environ.update(of_transport(environ, protocol, "IMAP"))
        self.environ = environ
        self.settings = settings = from_environ(environ)
        settings.alike = alike
        self.client = client
        self.accepted: Accepted | None = None
        delay = settings.number("IMAP_LOGIN_DELAY") if "IMAP_LOGIN_DELAY" in environ else FAILURE_DELAY
        self.gate = gate.Gate(environ["TCPREMOTEIP"], SECONDS, delay,
                              tries.inherited(environ) if table is None else table)
        self.tls = environ.get("IMAP_TLS", "0") not in ("", "0")
        self.peer = self.who(None)
        log.debug(f"Connection, {self.peer}")

    def who(self, user: str | None, **more: str) -> str:
        return log.who(self.environ["TCPREMOTEIP"], self.environ["TCPREMOTEPORT"], user, **more)

    def refusal(self) -> str:
        """Why nobody is let in; "" where they are."""
        why = self.environ.pop(notices.VARIABLE, "")
        if why:
            log.info(f"REFUSED, {self.peer}: {log.quoted(why)}")
        return why

    def disconnected(self) -> None:
        """The client is gone, or its time is over: the line for the log."""
        tail = ", starttls=1" if self.tls else ""
        log.debug(f"Disconnected, {self.peer}, time={int(time.monotonic() - self.gate.started)}{tail}")

    def end(self) -> None:
        """Nothing is said to the client any more."""
        del self.client

    def secured(self, found: Mapping[str, str]) -> None:
        """A TLS handshake is done; ``found``: the variables that tell of it."""
        self.environ.update(found)
        self.environ.update(of_transport(found, "IMAP", self._protocol))
        self.settings.alike = None
        self.tls = True

    # -- who may come in

    def mechanism(self, name: bytes) -> mechanisms.Mechanism | None:
        """The SASL mechanism; None where there is none of this name, or it needs what the connection
        lacks."""
        usable = mechanisms.usable(name, self.settings, self.tls)
        return mechanisms.find(name) if usable else None

    def admitted(self, service: str, ask: Callable[[sasl.Context], Steps[Account]], speak: Speak,
                 **more: str) -> Steps[Account]:
        """The account that ``ask`` finds, if it can be served here, or another host has accepted the same
        login.  Raises Refused when that is due, Elsewhere, NoPassword, Unreachable and TemporaryFailure.

        ``service``: as the modules know it, where AUTHSERVICE* does not say.  ``speak``: makes the dialogue
        with another host.  ``more``: what the log says besides the user and the client.
        """
        began = time.monotonic()
        environ = self.environ

        def count(result: str) -> None:
            metrics.count(measures.LOGINS, self._protocol, more.get("method", "PASSWORD"), result)

        service = environ.get(f"AUTHSERVICE{environ['TCPLOCALPORT']}") or service
        settings = self.settings
        identity = settings.external_identity() if self.tls else ""
        proxy = settings.flag(f"{self._protocol}_PROXY")
        context = sasl.Context(service, environ, identity, keeps=proxy)
        try:
            account = yield from ask(context)
            hosts = (start.elsewhere(account, settings) if proxy or settings.flag("IMAP_LOGIN_REFERRALS")
                     else [])
            if hosts and not proxy:
                count("referred")
                log.info(f"LOGIN REFERRED, {self.who(account.address, to=hosts[0], **more)}")
                raise Elsewhere(hosts[0], account.address)
            if hosts:
                self.accepted = yield from self._forwarded(account, hosts, context, speak, **more)
                count("forwarded")
                return account
            if proxy and account.option("mailhost") is None:
                log.warn(f"proxy enabled, but no proxy host defined for {log.quoted(account.address)}")
            yield Look(account)
            count("ok")
            return account
        except TemporaryFailure as error:
            count("temporary")
            log.err(f"authentication error: {error}, {self.who(context.user, **more)}")
            raise
        except Unservable as error:
            log.err(f"the account cannot be served: {error}, {self.who(context.user, **more)}")
        except Rejected:
            pass
        finally:
            if context.secret:
                wipe(context.secret)
        # every refusal comes at the same time after the question, whatever its reason
        count("failed")
        log.info(f"LOGIN FAILED, {self.who(context.user, **more)}")
        yield Wait(self.gate.refused(began, with_domain(context.user, environ) if context.user else ""))
        raise Refused(self.gate.again())

    def _forwarded(self, account: Account, hosts: list[str], context: sasl.Context, speak: Speak,
                   **more: str) -> Steps[Accepted]:
        """The answer of one of the hosts.  Raises Rejected, NoPassword and Unreachable."""
        who = self.who(context.user, **more)
        if not context.secret:
            log.warn(f"Login to {hosts[0]} failed: the client has said no password, {who}")
            raise NoPassword
        user, secret = context.user or "", context.secret
        try:
            found: Accepted = yield Forward(self._protocol, hosts,
                                            lambda server: speak(user, secret, server), account.address,
                                            account)
            return found
        except Rejected as error:
            log.warn(f"Login to {hosts[0]} failed: {error}, {who}")
            raise
        except Unreachable as error:
            log.err(f"Login to {hosts[0]} failed: {error}, {who}")
            raise
