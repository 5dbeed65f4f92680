"""Lists of rights: Courier's files, who is meant, what must not be written, who inherits."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courierpy.maildir import access
from courierpy.maildir.access import NAME, identities
from courierpy.maildir.errors import NameInvalid
from courierpy.maildir.formats.acl import DEFAULT, AccessList, LockedOut, identifier, told
from courierpy.maildir.store import Store
from courierpy.model.flags import ANSWERED, DELETED, FLAGGED, SEEN, FlagChange
from courierpy.model.rights import OWNER_RIGHTS, flags_of, limited

WORDS = st.text(st.characters(codec="utf-8"), max_size=12)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
    return Store(str(tmp_path), host="host", identities=identities("ann", "group=staff,x=y,group=b"))


def test_who_the_user_is() -> None:
    assert identities("ann", "group=staff,x=y,group=b,group") == {
        "owner", "anyone", "anonymous", "user=ann", "group=staff", "group=b"}
    for word in ("1", "yes", "t"):
        assert identities("ann", f"group=b,disableshared={word}") == frozenset()
    for word in ("0", "no", ""):
        assert "owner" in identities("ann", f"disableshared={word}")


def test_as_courier_has_it() -> None:
    data = b"owner aceilrstwx\nadministrators aceilrstwx\nuser=ann lrs\n-user=bob s\nfoo lr\ngroup=g Qlr\n"
    found = AccessList.parse(data)
    assert found.spelled() == data
    assert DEFAULT.spelled() == b"owner aceilrstwx\nadministrators aceilrstwx\n"
    assert found.entries["owner"] == OWNER_RIGHTS


@pytest.mark.parametrize(("data", "spelled"), [
    (b"administrators l\n", b""), (b"-administrators la\n", b""),
    (b"group=administrators r\n", b"group=administrators aceilrstwx\n"),
    (b"\n \nx\ny \nz l", b"z l\n"), (b"a l\na r\r\n", b"a lr\n"), (b"\xff\xfe l\n", b"\xff\xfe l\n")])
def test_what_is_read(data: bytes, spelled: bytes) -> None:
    """Administrators are in each list, behind the others where it does not say where, as Courier has it."""
    assert AccessList.parse(data).spelled() == spelled + b"administrators aceilrstwx\n"


@pytest.mark.parametrize(("who", "rights"), [
    ({"user=ann"}, "lr"), ({"user=ann", "group=g"}, "lrw"), ({"user=bob", "anyone"}, ""), ({"anyone"}, "l"),
    ({"owner"}, "lai"), ({"administrators"}, "lrswikxtea"),
    ({"group=administrators", "user=bob"}, "swikxtea"),
    ({"anyone2"}, ""), ({"user=an"}, "")])
def test_rights_are_a_union(who: set[str], rights: str) -> None:
    found = AccessList.parse(b"owner i\nuser=ann lrs\n-user=ann s\ngroup=g w\nanyone l\n-user=bob lr\n")
    assert found.rights(who) == frozenset(rights)


@pytest.mark.parametrize("data", [
    b"owner lr\n", b"user=x la\n", b"owner la\n-owner a\n", b"owner la\n-anyone l\n",
    b"owner la\n-anonymous a\n", b"owner la\n-anyone w\n", b"owner la\n-anonymous w\n",
    b"owner la\n-user=joe a\n"])
def test_nobody_is_locked_out(data: bytes) -> None:
    with pytest.raises(LockedOut):
        AccessList.parse(data).check(["user=joe"])


def test_administrators_stay_in_the_list() -> None:
    with pytest.raises(LockedOut):
        DEFAULT.changed("administrators", "=", "").check()
    with pytest.raises(LockedOut):
        DEFAULT.changed("administrators", "-", "l").check()
    DEFAULT.changed("administrators", "+", "p").check()


@pytest.mark.parametrize("data", [b"owner la\n", b"anyone la\n", b"owner l\nanonymous a\n",
                                  b"owner la\n-owner r\n", b"owner la\n-user=ann a\n"])
def test_who_can_be_mended(data: bytes) -> None:
    AccessList.parse(data).check(["user=joe"])


@settings(derandomize=True, max_examples=300, deadline=None)
@given(WORDS)
def test_an_identifier_is_one_word_of_a_line_and_comes_back(word: str) -> None:
    try:
        entry = identifier(word)
    except ValueError:
        return
    line = AccessList({entry: frozenset("lr")}).spelled()
    assert line.count(b"\n") == line.count(b" ") == 1
    assert AccessList.parse(line).entries == {entry: frozenset("lr"), "administrators": OWNER_RIGHTS}
    shown = told(entry)
    assert shown is not None
    assert identifier(shown) == entry


@pytest.mark.parametrize(("word", "entry", "shown"), [
    ("ann", "user=ann", "ann"), ("anyone", "anyone", "anyone"), ("anyone2", "user=anyone2", "anyone2"),
    ("user=anyone", "user=anyone", "user=anyone"), ("-ann", "-user=ann", "-ann"),
    ("-owner", "-owner", "-owner"),
    ("--x", "-user=-x", "--x"), ("user=-x", "user=-x", "user=-x"), ("group=g", "group=g", "group=g"),
    ("a.b@c.d", "user=a.b@c.d", "a.b@c.d"), ("user=a=b", "user=a=b", "user=a=b"),
    ("\u00fc", "user=\u00fc", "\u00fc")])
def test_who_is_meant(word: str, entry: str, shown: str) -> None:
    assert identifier(word) == entry
    assert told(entry) == shown


@pytest.mark.parametrize("word", ["", "-", "a b", "a\tb", "a\nb", "a\0", "a=b", "=", "user=", "group=",
                                  "-user=",
                                  "x" * 300, "a\u2028b", "\ud800"])
def test_no_identifier(word: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        identifier(word)


def test_entries_of_others_are_not_told() -> None:
    assert [told(entry) for entry in ("foo", "vendor=x", "=x", "user=")] == [None] * 4


@pytest.mark.parametrize(("rights", "change", "bits", "words"), [
    ("swt", FlagChange("=", SEEN | DELETED, frozenset((b"k",))), SEEN | DELETED, {b"k"}),
    ("s", FlagChange("=", SEEN | FLAGGED, frozenset((b"k",))), SEEN | ANSWERED, {b"old"}),
    ("s", FlagChange("=", 0), ANSWERED, {b"old"}),
    ("wt", FlagChange("=", SEEN | FLAGGED), FLAGGED, set()),
    ("t", FlagChange("+", SEEN | DELETED), ANSWERED | DELETED, {b"old"}),
    ("w", FlagChange("-", SEEN | ANSWERED, frozenset((b"old",))), 0, set())])
def test_what_of_a_change_is_allowed(rights: str, change: FlagChange, bits: int, words: set[bytes]) -> None:
    found = limited(change, rights)
    assert found is not None
    assert found.bits(ANSWERED) == found.bits_after()[ANSWERED] == bits
    assert found.words(frozenset((b"old",))) == words


@pytest.mark.parametrize(("rights", "change"), [
    ("lr", FlagChange("=", 0)), ("s", FlagChange("+", FLAGGED)), ("s", FlagChange("=", FLAGGED)),
    ("t", FlagChange("+", 0, frozenset((b"k",))))])
def test_nothing_is_allowed(rights: str, change: FlagChange) -> None:
    assert limited(change, rights) is None
    assert flags_of("")[0] == 0


def test_without_lists_nothing_is_written(store: Store) -> None:
    store.create("INBOX.a")
    store.rename("INBOX.a", "INBOX.b")
    store.delete("INBOX.b")
    assert store.rights("INBOX") == store.rights("INBOX.none") == OWNER_RIGHTS
    assert not list(Path(store.root).rglob(f"{NAME}*"))
    assert not (Path(store.root) / "courierimaphieracl").exists()


def test_levels_have_lists_too(store: Store) -> None:
    """Courier's, of what is no mailbox; a mailbox that is made there has it from then on."""
    levels = Path(store.root, "courierimaphieracl")
    levels.mkdir()
    (levels / "a").write_text("owner lra\n")
    assert store.rights("INBOX.a.b") == store.rights("INBOX.a") == frozenset("lra")
    store.create("INBOX.a")
    assert Path(store.root, ".a", NAME).read_text() == "owner alr\nadministrators aceilrstwx\n"
    assert not (levels / "a").exists()
    store.delete("INBOX.a")
    assert store.rights("INBOX.a") == OWNER_RIGHTS


def test_a_change_is_seen_at_once(store: Store) -> None:
    store.create("INBOX.a")
    assert not store.listed("INBOX.a")
    assert store.rights("INBOX.a") == OWNER_RIGHTS
    Path(store.root, ".a", NAME).write_text("owner lra\nuser=ann w\n-group=b r\n")
    assert store.listed("INBOX.a")
    assert store.rights("INBOX.a") == frozenset("law")
    os.unlink(Path(store.root, ".a", NAME))
    assert store.rights("INBOX.a") == OWNER_RIGHTS


@pytest.mark.parametrize("text", ["owner lra\n", DEFAULT.spelled().decode(), "user=ann w\nowner lr\n"])
@pytest.mark.parametrize("place", ["", ".a"])
def test_rights_and_whether_a_list_gives_them_are_had_at_once(store: Store, place: str, text: str) -> None:
    store.create("INBOX.a")
    for name in ("INBOX", "INBOX.a.b"):
        assert store.governed(name) == (store.rights(name), False) == (store.rights(name), store.listed(name))
    Path(store.root, place, NAME).write_text(text)
    for name in ("INBOX", "INBOX.a", "INBOX.a.b"):
        one, other = (Store(store.root, host="host", identities=identities("ann", "")) for _ in range(2))
        assert one.governed(name) == (other.rights(name), other.listed(name))
        assert one.governed(name)[1] is (not place or name != "INBOX")
    with pytest.raises(NameInvalid):
        store.governed("elsewhere")


def test_a_list_that_is_made_here_is_seen_at_once(store: Store) -> None:
    """Of a level that is no mailbox too, and by the mailboxes below it, though they were asked for before."""
    store.create("INBOX.a.b")
    for name in ("INBOX", "INBOX.a", "INBOX.a.b", "INBOX.c"):
        assert store.rights(name) == OWNER_RIGHTS
    store.lists().change("a", lambda before: before.changed("owner", "=", "alr"))
    assert store.rights("INBOX.a") == frozenset("alr")
    assert store.rights("INBOX.a.b") == store.rights("INBOX") == OWNER_RIGHTS      # RFC 4314 3.1
    store.lists().change("", lambda before: before.changed("owner", "=", "alrw"))
    assert store.rights("INBOX") == store.rights("INBOX.d") == frozenset("alrw")


def test_lists_are_looked_for_once_where_there_are_none(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the levels above a mailbox; its own is looked for each time."""
    looked: list[str] = []
    is_there = access.is_there
    monkeypatch.setattr(access, "is_there", lambda file: looked.append(file) or is_there(file))
    for name in ("INBOX.a", "INBOX.b", "INBOX.c", "INBOX.c.d", "INBOX.c.d.e"):
        looked.clear()
        assert store.rights(name) == OWNER_RIGHTS
    assert [os.path.basename(os.path.dirname(file)) for file in looked] == [".c.d.e"]
    looked.clear()
    assert store.governed("INBOX.a") == (OWNER_RIGHTS, False) and len(looked) == 1
    Path(store.root, "courierimapacl").write_text("owner lra\n")
    assert store.rights("INBOX") == store.rights("INBOX.f") == frozenset("lra")


def test_an_account_without_lists(tmp_path: Path) -> None:
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
    (tmp_path / NAME).write_text("owner la\n")
    store = Store(str(tmp_path), host="host", identities=identities("ann", "disableshared=1"))
    assert store.rights("INBOX") == OWNER_RIGHTS - {"a"}
    assert not store.listed("INBOX")
    assert store.governed("INBOX") == (OWNER_RIGHTS - {"a"}, False)


def test_what_is_refused_changes_nothing(store: Store) -> None:
    store.create("INBOX.a")
    with pytest.raises(LockedOut):
        store.lists().change("", lambda before: before.changed("owner", "=", "lr"))
    assert not list(Path(store.root).rglob(NAME))


@pytest.mark.parametrize("choice", ["maildir++", "fs"])
def test_many_lists_are_changed_by_one_look_at_the_mailboxes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    """Each below has a list of its own first, as if each was changed alone."""
    stores = []
    for at in "12":
        root = tmp_path / at
        root.mkdir()
        for part in ("cur", "new", "tmp"):
            (root / part).mkdir()
        store = Store(str(root), host="host", choice=choice, identities=identities("ann", ""))
        dot = store.layout.separator
        paths = ["a", f"a{dot}b", f"a{dot}b{dot}c", "a-", "a-x", "a0", "b"]
        for path in paths:
            store.create(store.namespaces.name(path))
        stores.append(store)
    alone, together = stores
    looked: list[str] = []
    mailboxes = type(store.layout).mailboxes
    monkeypatch.setattr(type(store.layout), "mailboxes",
                        lambda layout: looked.append(layout.root) or mailboxes(layout))
    lists = together.lists()
    for number, path in enumerate(["a", f"a{dot}b", "a-", ""]):
        def edit(before: AccessList, who: str = f"user=u{number}") -> AccessList:
            return before.changed(who, "=", "lr")
        alone.lists().change(path, edit)
        lists.change(path, edit)
    assert looked.count(together.root) == 1
    found = [[(path, store.lists().of(path).entries) for path in ["", *paths]] for store in stores]
    assert found[0] == found[1]
    assert [len(entries) for _, entries in found[1]] == [3, 3, 3, 2, 3, 2, 2, 2]
