"""A name is of one namespace, and has a path there; INBOX and the prefixes are spelled in one place."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

import courierpy
from courierpy.maildir.errors import FolderMissing, NameInvalid
from courierpy.maildir.store import Store
from courierpy.model.namespaces import PERSONAL, SHARED, Namespace, Namespaces, folded
from courierpy.model.rights import OWNER_RIGHTS

COURIERS = Namespaces(Namespace(PERSONAL, "INBOX.", ".", "."), Namespace(SHARED, "#shared.", "."),
                      Namespace(SHARED, "shared.", "."))
NESTED = Namespaces(Namespace(PERSONAL, "", "/", "."))


@pytest.mark.parametrize(("name", "prefix", "path"), [
    ("INBOX", "INBOX.", ""), ("INBOX.a.b", "INBOX.", "a.b"), ("INBOX.INBOX", "INBOX.", "INBOX"),
    ("#shared.x.y", "#shared.", "x.y"), ("shared.x", "shared.", "x"),
    ("INBOX.#shared.x", "INBOX.", "#shared.x")])
def test_couriers_names(name: str, prefix: str, path: str) -> None:
    found = COURIERS.find(name)
    assert found is not None
    assert (found[0].prefix, found[1]) == (prefix, path)
    assert found[0].name(path) == name


@pytest.mark.parametrize("name", ["", "INBOX.", "a", "#shared.", "shared", "inbox", "INBOXES"])
def test_names_of_no_mailbox(name: str) -> None:
    assert COURIERS.find(name) is None


@pytest.mark.parametrize(("name", "path"), [("INBOX", ""), ("a/b", "a/b"), ("INBOX/a", "INBOX/a"),
                                            ("#shared.x", "#shared.x")])
def test_names_without_a_prefix(name: str, path: str) -> None:
    found = NESTED.find(name)
    assert found is not None
    assert found[1] == path
    assert found[0].name(path) == name
    assert NESTED.find("") is None


@pytest.mark.parametrize(("name", "shown"), [
    ("inbox", "INBOX"), ("iNbOx.A", "INBOX.A"), ("inboxes", "inboxes"), ("inbo", "inbo"),
    ("a.inbox", "a.inbox")])
def test_inbox_in_any_case(name: str, shown: str) -> None:
    assert folded(name, ".") == shown


def test_a_store_resolves_its_own(tmp_path: Path) -> None:
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
    store = Store(str(tmp_path), host="host")
    assert store.rights("INBOX") == store.rights("INBOX.a") == OWNER_RIGHTS
    assert store.rights("#shared.a") == frozenset()
    store.subscribe("#shared.a.b", True)               # as Courier does, it need not be there
    assert store.subscriptions() == ["#shared.a.b"]
    with pytest.raises(NameInvalid):
        store.subscribe("elsewhere", True)
    for name in ("#shared.a", "elsewhere", "INBOX."):
        with pytest.raises(FolderMissing):
            store.open(name)


def test_spelled_in_one_place() -> None:
    house = Path(courierpy.__file__).parent
    spelled = re.compile(r"""["'](INBOX[."']|#?shared\.)""")
    found = [str(path.relative_to(house)) for path in house.rglob("*.py") if spelled.search(path.read_text())]
    assert found == ["model/namespaces.py"]


TWO = Namespaces(Namespace(PERSONAL, "", ".", "/m"), Namespace(PERSONAL, "INBOX.", ".", "/m"),
                 Namespace(SHARED, "shared.", "."))


@pytest.mark.parametrize(("path", "first", "second"), [
    ("", "INBOX", "INBOX"), ("a", "a", "INBOX.a"), ("a.b", "a.b", "INBOX.a.b"),
    ("inboxes", "inboxes", "INBOX.inboxes"),
    # what would be of another namespace, or INBOX itself, has only one name
    ("INBOX", "INBOX.INBOX", "INBOX.INBOX"), ("inbox.a", "INBOX.inbox.a", "INBOX.inbox.a"),
    ("INBOX.a", "INBOX.INBOX.a", "INBOX.INBOX.a"), ("shared.a", "INBOX.shared.a", "INBOX.shared.a"),
    ("shared", "shared", "INBOX.shared")])
def test_two_names_for_one_mailbox(path: str, first: str, second: str) -> None:
    assert TWO.name(path) == first
    for name in (first, second):
        found = TWO.find(folded(name, "."))
        assert found is not None and (found[0].kind, found[1]) == (PERSONAL, path)
        assert TWO.canonical(name) == first
        assert TWO.aliased(name) == second


def test_names_of_others_are_theirs() -> None:
    assert TWO.canonical("shared.a") == TWO.aliased("shared.a") == "shared.a"
    found = TWO.find("shared.a")
    assert found is not None and found[0].kind == SHARED


@pytest.mark.parametrize(("word", "so"), [
    ("INBOX.a", True), ("inbox.*", True), ("INBOX*", True), ("inbox%", True), ("INBOX", False), ("a", False),
    ("*", False), ("", False), ("INBOXES", False), ("INBOX.", True)])
def test_which_patterns_mean_the_second_names(word: str, so: bool) -> None:
    assert TWO.of_alias(word) == so
