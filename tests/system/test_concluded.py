"""What follows from the settings alone is found once, and nothing of a client is in it."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from courierpy import entering, imapd
from courierpy.auth import Account
from courierpy.imap import session
from courierpy.login import start
from courierpy.maildir import bounds, options
from courierpy.system import concluded
from courierpy.system.settings import Settings, from_environ

FINDS = (entering.Steps, imapd._emptied, imapd._patience, session.Rules, bounds._numbers, options._of_any,
         options.of_own)


class Asked(Mapping[str, str]):
    """An environment that knows which variables it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("find", FINDS)
def test_no_variable_of_a_client_is_asked_for(find: Callable[[Settings], Any]) -> None:
    asked = Asked()
    find(Settings(asked))
    assert asked.names and not asked.names & concluded.CLIENTS_OWN


def _trash(environ: dict[str, str]) -> str:
    return str(options.of_all(Settings(environ), None)["trash"])


def test_it_is_found_once_for_all_clients_and_anew_for_other_settings() -> None:
    found = []

    def find(settings: Settings) -> str:
        found.append(dict(settings.values))
        return settings.text("IMAP_TRASHFOLDERNAME")

    for user in ("ann", "bob"):
        values = {"IMAP_TRASHFOLDERNAME": "Bin", "AUTHENTICATED": user, "HOME": f"/home/{user}"}
        assert concluded.of(Settings(values), find) == "Bin"
    assert found == [{"IMAP_TRASHFOLDERNAME": "Bin"}]
    assert concluded.of(Settings({"IMAP_TRASHFOLDERNAME": "Trash"}), find) == "Trash"
    assert [_trash({"IMAP_TRASHFOLDERNAME": name}) for name in ("A", "B", "A")] == ["A", "B", "A"]
    assert _trash({}) == "Trash"


def test_an_environment_that_is_changed_between_two_sessions() -> None:
    environ = {"IMAP_TRASHFOLDERNAME": "A"}
    assert _trash(environ) == "A"
    environ["IMAP_TRASHFOLDERNAME"] = "B"
    assert _trash(environ) == "B"


def test_what_all_sessions_of_a_process_have_is_compared_for_no_client() -> None:
    """But for one that brings variables which are not a client's own, and then only those."""
    common = concluded.Common({"IMAP_TRASHFOLDERNAME": "Bin", "IMAP_TLS": "0", "HOME": "/"})
    found = []
    for peer, tls in (("::1", "0"), ("::2", "0"), ("::3", "1"), ("::4", "0")):
        environ = common.of({"TCPREMOTEIP": peer}, {"IMAP_TLS": tls})
        environ["HOME"] = "/home/ann"          # as start.hand_over() does
        settings = from_environ(environ)
        assert settings.text("TCPREMOTEIP") == peer and settings.text("HOME") == "/home/ann"
        assert settings.alike is not None
        assert settings.alike.values == {"IMAP_TRASHFOLDERNAME": "Bin", "IMAP_TLS": tls}
        found.append(settings.alike)
    assert found[0] is found[1] and found[1] is not found[2] is not found[3]
    other = concluded.Common({}).of({})
    assert from_environ(other).alike is not None and from_environ({**other}).alike is None


def test_what_sessions_ask_for_is_found_before_the_first_of_them() -> None:
    """Though the one that was tried before it has been forgotten, and though the client brings variables that
    say what all have."""
    found = []

    def find(settings: Settings) -> str:
        found.append(settings.text("IMAP_TRASHFOLDERNAME"))
        return found[-1]

    concluded.of(Settings({"IMAP_TRASHFOLDERNAME": "Tried"}), find)
    concluded.forget()
    common = concluded.Common({"IMAP_TRASHFOLDERNAME": "Bin", "PROTOCOL": "IMAP"})
    common.prepare()
    assert found == ["Tried", "Bin"]
    for said in ({}, {"PROTOCOL": "IMAP"}):
        assert concluded.of(from_environ(common.of({"TCPREMOTEIP": "::1"}, said)), find) == "Bin"
    assert found == ["Tried", "Bin"]
    changed = common.of({"IMAP_TRASHFOLDERNAME": "Other"}, {"IMAP_TRASHFOLDERNAME": "Bin"})
    assert concluded.of(from_environ(changed), find) == "Bin"
    changed = common.of({"IMAP_TRASHFOLDERNAME": "Other"}, {})
    assert concluded.of(from_environ(changed), find) == "Other"


def test_what_an_account_brings_is_its_own(tmp_path: Path) -> None:
    account = Account("ann", 1, 1, str(tmp_path), name="Ann", maildir="mail", quota="1S", options="a=b")
    environ: dict[str, str] = {}
    start.hand_over(account, "mail", environ)
    assert environ.keys() <= concluded.CLIENTS_OWN
