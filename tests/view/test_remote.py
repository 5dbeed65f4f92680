"""Mailboxes of others at other servers.  RFC 2193."""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import fill
from tests.realtime.windows import Window, over_pipe

LINES = """\
# what is elsewhere

two.example.org	#shared.ann.News
two.example.org:1143 [::1]:143	#shared.ann.Gr\u00fc\u00dfe
two.example.org	#shared.team
here.example.org	#shared.here.Not
HERE.example.org three.example.org	#shared.ann.Both
two.example.org	INBOX.Mine
two.example.org
two.example.org, three.example.org	#shared.ann.Comma
/	#shared.ann.Host
two.example.org	#shared.
two.example.org	#shared.ann.
two.example.org	#shared.ann..News
two.example.org	#shared.ann.N\aws
two.example.org	#shared.ann.N\0ws
two.example.org	#shared.ann.N\udcffws
two.example.org:65536	#shared.ann.Port
two.example.org:0	#shared.ann.Port
two.example.org [::1]:99999	#shared.ann.Port
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Window]:
    """Of the account joe@x, beside whom team shares its INBOX here."""
    for name in ("me", "team"):
        fill(tmp_path / name, 1)
    (tmp_path / "team" / "courierimapacl").write_text("owner aceilrstwx\nanyone lr\n")
    (tmp_path / "index").write_text(f"team\t7\t7\t{tmp_path}\tteam\n")
    (tmp_path / "remote").write_bytes(LINES.encode("utf-8", "surrogateescape"))
    window = over_pipe(tmp_path / "me", IMAP_SHAREDINDEXFILE=str(tmp_path / "index"), AUTHENTICATED="joe@x",
                       IMAP_REMOTE_MAILBOXES=str(tmp_path / "remote"), PROXY_HOSTNAME="here.example.org")
    yield window
    window.close()


def answer(client: Window, command: str) -> str:
    client.number += 1
    client.send(f"t{client.number} {command}")
    return client.until(f"t{client.number} ")[-1].partition(" ")[2]


def names(lines: list[str]) -> list[str]:
    return sorted(line.partition('"." ')[2].strip('"') for line in lines)


NEWS = ("NO [REFERRAL imap://joe%40x;AUTH=*@two.example.org/%23shared.ann.News] "
        "Remote mailbox. Try two.example.org.")


def test_what_is_told(client: Window) -> None:
    assert "MAILBOX-REFERRALS" in client.do("CAPABILITY")[0].split()
    here = ["#shared.team"]
    there = ["#shared.ann", "#shared.ann.Both", "#shared.ann.Gr&APwA3w-e", "#shared.ann.News"]
    assert names(client.do('LIST "" "#shared.*"')) == here
    assert names(client.do('RLIST "" "#shared.*"')) == there + here
    assert names(client.do('LIST (REMOTE) "" "#shared.*"')) == there + here
    assert '* LIST (\\HasNoChildren) "." "#shared.ann.News"' in client.do('RLIST "" "#shared.ann.%"')
    assert names(client.do('RLIST "#shared.ann" News')) == ["#shared.ann.News"]
    told = client.do('LIST (REMOTE) "" ("#shared.ann.News" "#shared.team") '
                     'RETURN (MYRIGHTS STATUS (MESSAGES))')
    assert sorted(told) == [r'* LIST (\HasNoChildren) "." "#shared.team"',
                            r'* LIST (\Remote \HasNoChildren) "." "#shared.ann.News"',
                            '* MYRIGHTS "#shared.team" lr', '* STATUS "#shared.team" (MESSAGES 1)']
    for word in ("LIST", "RLIST"):
        assert names(client.do(f'{word} "" *')) == ["INBOX"]
        assert client.do(f'{word} "" ""') == ['* LIST (\\Noselect) "." ""']


def test_where_it_is(client: Window) -> None:
    client.do("SELECT INBOX")
    for command in ("COPY 1 {}", "UID MOVE 1 {}", "STATUS {} (MESSAGES)", "CREATE {}", "DELETE {}",
                    "APPEND {} {{3+}}\r\nabc", "EXAMINE {}", "GETACL {}", "MYRIGHTS {}", "SELECT {}"):
        assert answer(client, command.format("#shared.ann.News")) == NEWS, command
    assert answer(client, "SELECT #shared.ann.Gr&APwA3w-e") == (
        "NO [REFERRAL imap://joe%40x;AUTH=*@two.example.org:1143/%23shared.ann.Gr%C3%BC%C3%9Fe "
        "imap://joe%40x;AUTH=*@[::1]:143/%23shared.ann.Gr%C3%BC%C3%9Fe] "
        "Remote mailbox. Try two.example.org:1143.")
    assert answer(client, "RENAME #shared.ann.News #shared.ann.Old") == (
        "NO [REFERRAL imap://joe%40x;AUTH=*@two.example.org/%23shared.ann.News "
        "imap://joe%40x;AUTH=*@here.example.org/%23shared.ann.Old] Remote mailbox. Try two.example.org.")
    assert "three.example.org" in answer(client, "SELECT #shared.ann.Both")
    for name in ("#shared.here.Not", "#shared.ann.Host", "INBOX.Mine", "#shared.ann.Newss"):
        assert "REFERRAL" not in answer(client, f"SELECT {name}"), name
    assert answer(client, "EXAMINE #shared.team").startswith("OK")


def test_what_is_refused_before_its_literal_is_not_where_the_command_before_was(client: Window) -> None:
    client.do("SELECT #shared.team")
    assert answer(client, "STATUS #shared.ann.News (MESSAGES)") == NEWS
    assert answer(client, "REPLACE 1 INBOX {3}").startswith("NO [NOPERM] ")


def test_subscriptions_are_here(client: Window, tmp_path: Path) -> None:
    client.do("SUBSCRIBE #shared.ann.News")
    client.do("SUBSCRIBE #shared.team")
    assert names(client.do('LSUB "" "#shared.*"')) == ["#shared.team"]
    assert names(client.do('RLSUB "" "#shared.*"')) == ["#shared.ann.News", "#shared.team"]
    client.do("UNSUBSCRIBE #shared.ann.News")
    assert names(client.do('RLSUB "" "#shared.*"')) == ["#shared.team"]
    assert (tmp_path / "me" / "courierimapsubscribed").read_text() == "#shared.team\n"


def test_what_is_no_line_is_told_once(tmp_path: Path) -> None:
    fill(tmp_path / "me", 1)
    log = tmp_path / "log"
    (tmp_path / "remotea").write_bytes(LINES.encode("utf-8", "surrogateescape"))
    client = over_pipe(tmp_path / "me", log, IMAP_REMOTE_MAILBOXES=str(tmp_path / "remote"),
                       OPTIONS="sharedgroup=a")
    for _ in range(2):
        assert "#shared.ann.News" in names(client.do('RLIST "" "#shared.*"'))
    (tmp_path / "remotea").unlink()
    assert answer(client, "SELECT #shared.ann.News").startswith("NO [NONEXISTENT]")
    client.close()
    lines = [line for line in log.read_text().splitlines() if "IMAP_REMOTE_MAILBOXES" in line]
    assert [line.partition("remotea")[2].partition(": ")[0] for line in lines] == [
        *(f":{number}" for number in range(8, 21)), ""]
    assert f"{tmp_path}/remotea: {os.strerror(2)}" in lines[-1]


def test_without_a_list(tmp_path: Path) -> None:
    fill(tmp_path / "me", 1)
    client = over_pipe(tmp_path / "me")
    assert "MAILBOX-REFERRALS" not in client.do("CAPABILITY")[0]
    assert client.do('RLIST "" *') == client.do('LIST "" *')
    assert answer(client, "SELECT #shared.ann.News").startswith("NO [NONEXISTENT]")
    client.close()
