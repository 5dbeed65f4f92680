"""Whose mail is it?  From an address to an account, without a password.

An address is asked for in the spellings that accounts go by: with its domain, and by the local part alone
where the domain is one of ours; with the detail behind ``+`` taken off.  That nobody has the account is
only said when every module has said so: a database that is out of reach is a TemporaryFailure, or good mail
would go back.
"""
from __future__ import annotations

import time

from courierpy.auth import DELIVERY, Account, Rejected, Request, authdaemon, configured, with_domain
from courierpy.auth.apart import Asker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from courierpy.system.settings import Settings

KNOWN_SECONDS = 5.0            # that an account is remembered: the next message may be for it too
KNOWN = 1000                   # accounts


class Accounts:
    """The accounts as a program of mail asks for them, without a password.

    ``modules``: to be asked, in order; the listener's helper is asked instead where there is one."""

    def __init__(self, settings: Settings, modules: Sequence[str] = ()) -> None:
        self._environ: Mapping[str, str] = settings.values
        words = list(modules) or configured(settings.values)
        direct = "COURIERPY_AUTHSOCKET" in self._environ or words == ["authdaemon"]
        self._asker = None if direct else Asker(words, settings.values)
        self._known: dict[str, tuple[float, Account]] = {}
        self._delimiter = settings.text("LMTP_DELIMITER")[:1]
        self._fold = settings.flag("LMTP_FOLD_CASE")
        self._domains = frozenset(settings.text("LMTP_DOMAINS").lower().split())

    def find(self, local: str, domain: str) -> tuple[Account, str]:
        """(the account, the detail of the address: "" without one).  Raises Rejected, TemporaryFailure."""
        for user, detail in self._spellings(local, domain):
            try:
                return self._account(user), detail
            except Rejected:
                continue
        raise Rejected

    def _account(self, user: str) -> Account:
        """Raises Rejected, TemporaryFailure."""
        now = time.monotonic()
        until, account = self._known.get(user, (0.0, None))
        if account is None or until < now:
            account = self.ask(Request("pre", DELIVERY, self._environ, user=user))
            account.forget()
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[user] = now + KNOWN_SECONDS, account
        return account

    def ask(self, request: Request) -> Account:
        """One question to the modules.  Raises Rejected, TemporaryFailure."""
        if request.kind == "token" and self._asker is None and "COURIERPY_AUTHSOCKET" not in self._environ:
            self._asker = Asker(["authdaemon"], self._environ)     # Courier's does not know what a token is
        return authdaemon.lookup(request) if self._asker is None else self._asker.check(request)

    def close(self) -> None:
        """Let go of the way to who answers."""
        if self._asker is not None:
            self._asker.close()

    def _spellings(self, local: str, domain: str) -> Iterator[tuple[str, str]]:
        """(name of an account, detail), the likeliest first, each once."""
        base, mark, detail = local.partition(self._delimiter) if self._delimiter else (local, "", "")
        said = set()
        for part, rest in ([(base, detail), (local, "")] if mark and base else [(local, "")]):
            for spelled in (part, part.lower()) if self._fold else (part,):
                for name in self._names(spelled, domain):
                    if name not in said:
                        said.add(name)
                        yield name, rest

    def _names(self, local: str, domain: str) -> Iterator[str]:
        if domain:
            yield f"{local}@{domain}"
        if not domain or not self._domains or domain in self._domains:
            yield with_domain(local, self._environ)
