"""The real Dovecot with LAYOUT=fs and ours on one tree, by turns: names, numbers, keywords, removal."""
from __future__ import annotations

import re
import subprocess

import pytest

from tests.conftest import REPO
from tests.peers.test_dovecot import Peer, append, facts, look, peer

pytestmark = pytest.mark.peers
__all__ = ["peer"]                 # the fixture


@pytest.fixture(params=["INBOX", "."])
def tree(peer: Peer, request: pytest.FixtureRequest) -> Peer:
    """INBOX beside the others, or the root itself."""
    if request.param == "INBOX":
        for part in ("cur", "new", "tmp"):
            (peer.maildir / part).rmdir()
    peer.layout = f":LAYOUT=fs:INBOX={peer.maildir / request.param}" if request.param != "." else ":LAYOUT=fs"
    peer.prefix, peer.separator = "", "/"
    peer.environ["IMAP_LAYOUT"] = "auto" if request.param == "INBOX" else "fs"
    return peer


def mailboxes(answer: str) -> list[str]:
    """Names and attributes that both tell."""
    rows = re.findall(r'^\* LIST \(([^)]*)\) "/" "?([^"\r\n]+)"?', answer, re.M)
    return sorted(" ".join([name, *sorted(word for word in flags.split() if "arked" not in word)])
                  for flags, name in rows)


FOLDERS = ("INBOX", "Work", "Work/Projects", "a.b", "&AOk-t&AOk-", "INBOX/Sub")


def test_both_see_the_same(tree: Peer) -> None:
    tree.dovecot(*(f"CREATE {name}" for name in FOLDERS[1:]), append("INBOX", r"\Seen Foo"),
                 append("Work/Projects", r"\Flagged"), "SUBSCRIBE Work/Projects", "SUBSCRIBE &AOk-t&AOk-")
    theirs = tree.dovecot('LIST "" *', *look(*FOLDERS))
    ours = tree.ours('LIST "" *', *look(*FOLDERS))
    assert mailboxes(ours) == mailboxes(theirs)
    for fact in ("messages", "validity"):
        assert facts(ours)[fact] == facts(theirs)[fact]
    assert sorted(re.findall(r'LSUB \([^)]*\) "/" "?([^"\r]+)', ours)) == ["&AOk-t&AOk-", "Work/Projects"]


def test_what_we_do_is_there_for_dovecot_and_back(tree: Peer) -> None:
    tree.dovecot("CREATE Work/Projects", append("INBOX"))
    tree.ours("CREATE Work/New", append("Work/New", "Label"), "CREATE Gr&APwA3w-e", "SELECT INBOX",
              r"STORE 1 +FLAGS (\Flagged Label)", "COPY 1 Work/Projects", "RENAME Work/Projects Else/where",
              "SUBSCRIBE Else/where")
    theirs = tree.dovecot('LIST "" *', *look("INBOX", "Work/New", "Else/where"))
    assert mailboxes(theirs) == mailboxes(tree.ours('LIST "" *'))         # nothing of ours is a level to it
    assert len(facts(theirs)["messages"]) == 3
    assert theirs.count("Flagged") >= 2
    # it removes what we have used, and nothing of it stays
    tree.dovecot("DELETE Work/New", "RENAME Else/where Work/Again", append("Work/Again"))
    assert not (tree.maildir / "Work" / "New").exists()
    answer = tree.ours('LIST "" *', "SELECT Work/Again", "FETCH 1:* (FLAGS)")
    assert "* 2 EXISTS" in answer
    assert "Label" in answer                       # keywords came along
    assert "Work/New" not in answer
    tree.ours("DELETE Work/Again")
    assert mailboxes(tree.dovecot('LIST "" *')) == mailboxes(tree.ours('LIST "" *'))
    assert "Work" not in {row.split()[0] for row in mailboxes(tree.ours('LIST "" *'))}


def test_given_back_by_convert(tree: Peer) -> None:
    tree.dovecot("CREATE Work/Projects", append("INBOX"), append("Work/Projects"))
    tree.ours("SELECT Work/Projects", r"STORE 1 +FLAGS (Label)", append("Work/Projects", "Other"),
              "CREATE Fresh", append("Fresh"), "SUBSCRIBE Work/Projects", "SUBSCRIBE a.b")
    ours = facts(tree.ours(*look("INBOX", "Work/Projects", "Fresh")))
    tree.convert("--to", "dovecot", "--layout", tree.environ["IMAP_LAYOUT"])
    answer = tree.dovecot(*look("INBOX", "Work/Projects", "Fresh"))
    theirs = facts(answer)
    assert (theirs["messages"], theirs["validity"]) == (ours["messages"], ours["validity"])
    assert sorted(re.findall(r'LSUB \([^)]*\) "/" "?([^"\r]+)', answer)) == ["Work/Projects", "a.b"]


@pytest.mark.parametrize("tree", ["."], indirect=True)
def test_from_auto_to_fs(tree: Peer) -> None:
    """A tree that was served as a maildir++: numbers of INBOX stay, and keywords as docs/layout.md has it."""
    tree.dovecot("CREATE Work/Projects", append("INBOX"))
    tree.environ["IMAP_LAYOUT"] = "auto"
    told = tree.ours('LIST "" *', "SELECT INBOX", "STORE 1 +FLAGS (Label)")
    assert "[ALERT] Maildirs that are not shown, as they are none of the layout maildir++" in told
    assert "Work/Projects" in told and mailboxes(told) == []
    before = tree.ours(*look("INBOX"))
    tree.environ["IMAP_LAYOUT"] = "fs"
    moves = re.findall(r"`(mv [^`]+)`", (REPO / "docs" / "layout.md").read_text())
    assert len(moves) == 2
    for move in moves:
        subprocess.run(["sh", "-c", move], cwd=tree.maildir, check=True, timeout=20)
    after = tree.ours('LIST "" *', *look("INBOX"))
    for fact in ("messages", "validity"):
        assert facts(after)[fact] == facts(before)[fact]
    assert "Label" in str(facts(after)["messages"])
    assert mailboxes(after) == mailboxes(tree.dovecot('LIST "" *'))
