"""One LIST over entries: what options select, what fails while it is told."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from courierpy.imap.ext import liststatus
from courierpy.imap.listing import Listing, wanted
from courierpy.maildir.errors import Denied, DiskTrouble, FolderMissing, StoreError
from courierpy.maildir.index.statuscache import Status
from courierpy.model.replies import Bad
from courierpy.model.rights import OWNER_RIGHTS
from tests.conftest import args_of


class Folders:
    """Mailboxes of these names; ``trouble``: what happens when one is looked at."""

    def __init__(self, *names: str, trouble: dict[str, StoreError] | None = None) -> None:
        self._names = list(names)
        self.trouble = trouble or {}

    def names(self) -> list[str]:
        return self._names

    def rights(self, name: str) -> frozenset[str]:
        return OWNER_RIGHTS

    def marked(self, name: str) -> bool:
        return False

    def status(self, name: str) -> Status:
        if name in self.trouble:
            raise self.trouble[name]
        return Status((1, 0, 2, 3, 1))


def session_with(folders: Folders) -> tuple[Any, list[bytes]]:
    told: list[bytes] = []
    settings = SimpleNamespace(flag=lambda name: False)
    return SimpleNamespace(folders=folders, settings=settings, separator=".", utf8=False, by_alias=False,
                           write=lambda *lines: told.extend(lines)), told


def lines(told: list[bytes]) -> list[str]:
    return b"".join(told).decode().splitlines()


@pytest.mark.parametrize(("trouble", "attribute"), [
    (FolderMissing("it went"), "\\Noselect \\HasNoChildren"), (Denied("no"), "\\Noselect \\HasNoChildren"),
    (DiskTrouble("path", OSError(5, "EIO")), "\\HasNoChildren")])
def test_a_mailbox_without_a_status(trouble: StoreError, attribute: str) -> None:
    """RFC 5819 2: what cannot be selected is told so; the others are told whatever one does."""
    session, told = session_with(Folders("INBOX", "INBOX.a", "INBOX.b", trouble={"INBOX.a": trouble}))
    listing = Listing(session, b"LIST", True)
    liststatus.EXTENSION.tables["list_returns"][b"STATUS"](session, args_of(b"a LIST (MESSAGES)"))(listing)
    listing.tell(wanted("", ["INBOX.*"], "."))
    assert lines(told) == [f'* LIST ({attribute}) "." "INBOX.a"', '* LIST (\\HasNoChildren) "." "INBOX.b"',
                           '* STATUS "INBOX.b" (MESSAGES 1)']


def test_the_order_is_the_mailboxes_then_levels_then_other_names() -> None:
    session, told = session_with(Folders("INBOX", "INBOX.a.b.c"))
    listing = Listing(session, b"LIST", True)
    listing.names += ["INBOX.z.y", "INBOX.a", "INBOX.a.b.c"]
    assert [(entry.name, entry.exists, entry.children) for entry in listing.entries()] == [
        ("INBOX", True, True), ("INBOX.a.b.c", True, False), ("INBOX.a.b", False, True),
        ("INBOX.a", False, True), ("INBOX.z.y", False, False), ("INBOX.z", False, False)]


def test_many_patterns_cost_what_they_are_long() -> None:
    """Names are looked up, however many there are; patterns are tried one by one, and bounded."""
    matches = wanted("INBOX", [f"a{at}" for at in range(20000)], ".")
    assert [matches(name) for name in ("INBOX.a0", "INBOX.a19999", "INBOX.a20000", "INBOX.a")] == [
        True, True, False, False]
    assert wanted("", ["inbox", "INBOX.%", "x"], ".")("INBOX")
    assert wanted("", ["a*"] * 5000, ".")("abc")
    with pytest.raises(Bad):
        wanted("", [f"a{at}*" for at in range(101)], ".")
    assert not wanted("", [], ".")("INBOX")


def test_criteria_are_all_fulfilled() -> None:
    session, told = session_with(Folders("INBOX", "INBOX.ab", "INBOX.a", "INBOX.b", "INBOX.b.ab"))
    listing = Listing(session, b"LIST", True)
    listing.recursive = True
    with pytest.raises(Bad):
        listing.tell(wanted("", ["*"], "."))
    assert told == []
    listing.criteria[b"A"] = lambda entry: "a" in entry.name
    listing.criteria[b"B"] = lambda entry: "b" in entry.name
    listing.tell(wanted("", ["INBOX.%"], "."))
    assert lines(told) == ['* LIST (\\HasNoChildren) "." "INBOX.ab"',
                           '* LIST (\\HasChildren) "." "INBOX.b" ("CHILDINFO" ("A" "B"))']
