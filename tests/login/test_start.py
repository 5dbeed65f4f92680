"""What the next program is started with."""
from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courierpy.auth import Account, Unservable
from courierpy.login import start


@pytest.mark.parametrize(("arguments", "parts"), [
    ([], ([], [])), (["Maildir"], ([], ["Maildir"])), (["-r"], (["-r"], [])),
    (["-r", "./Maildir", "-x"], (["-r"], ["./Maildir", "-x"]))])
def test_options_stand_first(arguments: list[str], parts: tuple[list[str], list[str]]) -> None:
    assert start.parted(arguments) == parts


def test_the_maildir_is_no_option() -> None:
    """imapd -r ./Maildir"""
    account = Account(username="demo", uid=1, gid=1, home="/", address="demo")
    assert start.maildir_of(account, ["-r", "./Maildir"], {}) == "./Maildir"
    assert start.maildir_of(account, ["-r"], {"MAILDIRPATH": "Mail"}) == "Mail"


@pytest.fixture
def home() -> Iterator[Path]:
    """Not pytest's own folder: accounts must be able to enter it."""
    with tempfile.TemporaryDirectory(prefix="courierpy-test-") as found:
        os.chmod(found, 0o755)
        yield Path(found)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Maildirs that were looked at as their user."""
    found: list[str] = []
    own = start.look

    def look(account: Account, maildir: str, skeleton: str, owned: bool) -> None:
        found.append(maildir)
        own(account, maildir, skeleton, owned)
    monkeypatch.setattr(start, "look", look)
    return found


def test_what_was_seen_as_the_user_holds_for_a_moment(home: Path, monkeypatch: pytest.MonkeyPatch,
                                                      looked: list[str]) -> None:
    """Of this account and this Maildir."""
    account = Account("demo", os.getuid() or 65534, os.getgid(), str(home))
    for name in ("Maildir", "Other"):
        (home / name).mkdir(0o755)
    monkeypatch.setattr(start, "LOOK_SECONDS", float("inf"))
    seen = start.Seen()
    for maildir in ("Maildir", "Maildir", "Other", "Maildir", "Other"):
        seen.look(account, maildir, "", False)
    assert looked == ["Maildir", "Other"]
    monkeypatch.setattr(start, "LOOK_SECONDS", 0.0)
    fresh = start.Seen()
    for _ in range(2):
        fresh.look(account, "Maildir", "", False)
    assert looked[2:] == ["Maildir"] * 2


@pytest.mark.parametrize("spoil", [
    shutil.rmtree, lambda path: path.rename(path.with_name("Before")), lambda path: path.chmod(0)])
def test_a_maildir_that_is_another_one_by_now_is_looked_at(home: Path, spoil: Callable[[Path], object],
                                                           looked: list[str]) -> None:
    account = Account("demo", os.getuid() or 65534, os.getgid(), str(home))
    maildir = home / "Maildir"
    maildir.mkdir(0o755)
    seen = start.Seen()
    seen.look(account, "Maildir", "", False)
    spoil(maildir)
    for _ in range(2):
        with pytest.raises(Unservable):
            seen.look(account, "Maildir", "", False)
    assert looked == ["Maildir"] * 3
