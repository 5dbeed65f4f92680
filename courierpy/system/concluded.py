"""What follows from the settings alone, found once for all sessions of a process that have the same ones.

A process serves one session after another, and the variables of their environments are equal but for those
of the client and its account (CLIENTS_OWN).  All others are compared once for a session, and what is found
is found of them alone, so that nothing of a client can be in it.  It is shared: nobody changes it.
"""
from __future__ import annotations

from contextlib import suppress

from courierpy.system.settings import Settings, Variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    Found = TypeVar("Found")

CLIENTS_OWN = frozenset((
    "TCPREMOTEIP", "TCPREMOTEPORT", "TCPREMOTEHOST", "TCPREMOTEINFO", "TCPLOCALIP", "TCPLOCALPORT",
    "TCPLOCALHOST", "IMAPLOGINTAG", "AUTHENTICATED", "AUTHADDR", "AUTHFULLNAME", "OPTIONS", "AUTHOPTIONS",
    "HOME", "MAILDIR", "MAILDIRQUOTA"))


_last = Settings({})               # those of the last session that asked, without CLIENTS_OWN
_asked: dict[Callable[[Settings], object], None] = {}      # all finds, in their order


def of(settings: Settings, find: Callable[[Settings], Found]) -> Found:
    """What ``find`` says of the settings, which asks for none of CLIENTS_OWN."""
    alike = settings.alike
    if alike is None:
        alike = settings.alike = _alike(settings.values)
    known = alike.concluded
    if find not in known:
        known[find] = find(alike)
        _asked[find] = None
    found: Found = known[find]
    return found


def forget() -> None:
    """What was found before is found anew, as in a process without a session."""
    global _last
    _last = Settings({})


class Common:
    """``variables``: those that all sessions of a process have, whoever their client is."""

    __slots__ = ("_alike", "_others", "variables")

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self._others: dict[str, str] = {}
        self._alike: Settings | None = None

    def prepare(self) -> None:
        """Find ahead, for clients that bring nothing else, all that sessions have asked for until now: in a
        process where all has been forgotten since too."""
        self._alike = _alike(self.variables)
        for find in _asked:
            with suppress(ValueError): # a session says what is wrong
                self._alike.concluded[find] = find(self._alike)

    def of(self, *client: Mapping[str, str]) -> Variables:
        """These, and those of a client, which count before them.  Only what is of CLIENTS_OWN may change
        then.  All of them are compared where the client brings others than the one before."""
        environ = Variables(self.variables)
        for variables in client:
            environ.update(variables)
        others = {name: environ[name] for variables in client for name in variables
                  if name not in CLIENTS_OWN and environ[name] != self.variables.get(name)}
        if self._alike is None or others != self._others:
            self._others, self._alike = others, _alike(environ)
        environ.alike = self._alike
        return environ


def _alike(values: Mapping[str, str]) -> Settings:
    global _last
    shared = {name: value for name, value in values.items() if name not in CLIENTS_OWN}
    if shared != _last.values:
        _last = Settings(shared)
    return _last
