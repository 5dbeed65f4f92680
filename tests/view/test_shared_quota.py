"""Of mailboxes that accounts share the quota of their owner counts."""
from __future__ import annotations

from pathlib import Path

from tests.view.test_shared import Site


def test_the_quota_is_the_owners(tmp_path: Path) -> None:
    """A full reader may copy into a mailbox of an owner who has room, and not the other way round."""
    site = Site(tmp_path)
    sizes = {user: site.home / user / "maildirsize" for user in ("ann", "bob")}
    sizes["ann"].write_bytes(b"1000C\n           0            2\n")
    sizes["bob"].write_bytes(b"1C\n           0            1\n")
    found = site.say(
        "a SELECT INBOX", "b COPY 1 #shared.ann.Pub", "c SELECT #shared.ann.Pub", "d COPY 1 INBOX",
        "e GETQUOTAROOT #shared.ann.Pub", "f GETQUOTAROOT INBOX", "g GETQUOTAROOT #shared.ann.Hidden",
        "h GETQUOTAROOT #shared.nobody.x", 'i GETQUOTA "#shared.ann"', "j GETQUOTA #shared.ann.Pub")
    assert found["b"][-1].startswith("b OK")
    assert found["d"][-1].startswith("d NO [OVERQUOTA]")
    assert found["e"][-3:-1] == ['* QUOTAROOT "#shared.ann.Pub" "#shared.ann"',
                                 '* QUOTA "#shared.ann" (MESSAGE 3 1000)']
    assert found["f"][-3:-1] == ['* QUOTAROOT "INBOX" "ROOT"', '* QUOTA "ROOT" (MESSAGE 1 1)']
    # who may not read learns nothing, not even that it is there
    assert found["g"] == ['* QUOTAROOT "#shared.ann.Hidden"', "g OK GETQUOTAROOT Ok."]
    assert found["h"] == ['* QUOTAROOT "#shared.nobody.x"', "h OK GETQUOTAROOT Ok."]
    assert [found[tag][-1][:18] for tag in "ij"] == ["i NO [NONEXISTENT]", "j NO [NONEXISTENT]"]
    assert sizes["ann"].read_bytes().count(b"\n") == 3
    assert sizes["bob"].read_bytes().count(b"\n") == 2
    # two accounts, one transaction: what goes from one counts in the other
    sizes["bob"].write_bytes(b"9C\n           0            1\n")
    site.allow("ann/.Pub", "bob lrswite")
    found = site.say("a SELECT #shared.ann.Pub", "b MOVE 1 INBOX")
    assert found["b"][-1].startswith("b OK")
    last = [int(sizes[user].read_bytes().split()[-1]) for user in ("ann", "bob")]
    assert last == [-1, 1]
