"""What the next program is started with."""
from __future__ import annotations

import pytest

from courierpy.auth import Account
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
