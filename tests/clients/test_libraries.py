"""Libraries that programs speak IMAP with, each against the listener."""
from __future__ import annotations

import asyncio
import imaplib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import flags, run
from tests.conftest import REPO, Server, missing, need, plain_environ

pytestmark = pytest.mark.clients
HERE = Path(__file__).parent
BY_DATE = ["Notes on the engine", "Re: Notes on the engine", "Caf\u00e9 at noon?",
           "A book that you asked for is here"]
MAIL = b"Subject: by a library\r\n\r\nbody\r\n"


def trust(listener: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(listener.certificate))


@pytest.mark.parametrize("way", ["plain", "starttls", "imaps"])
def test_imaplib(server: Server, way: str) -> None:
    client: imaplib.IMAP4
    if way == "imaps":
        client = imaplib.IMAP4_SSL("localhost", server.tls_port, ssl_context=trust(server))
    else:
        client = imaplib.IMAP4("localhost", server.port)
    if way == "starttls":
        client.starttls(trust(server))
    client.login("demo", "demo")
    assert client.select() == ("OK", [b"4"])
    assert client.append("INBOX", "(\\Seen)", None, MAIL)[0] == "OK"
    assert client.search(None, "SUBJECT", '"by a library"') == ("OK", [b"5"])
    data = client.fetch("5", "(FLAGS BODY.PEEK[])")[1]
    assert isinstance(data[0], tuple)
    assert data[0][1] == MAIL
    assert client.sort("(REVERSE DATE)", "UTF-8", "1:4") == ("OK", [b"4 3 2 1"])
    assert client.thread("REFERENCES", "UTF-8", "1:4")[0] == "OK"
    assert client.store("5", "+FLAGS", "(\\Deleted)")[0] == "OK"
    assert client.expunge() == ("OK", [b"5"])
    client.logout()
    assert len(flags(server.maildir)) == 4


def test_imapclient(listener: Server) -> None:
    imapclient = pytest.importorskip("imapclient")
    with imapclient.IMAPClient("localhost", listener.tls_port, ssl_context=trust(listener)) as client:
        client.login("demo", "demo")
        assert client.select_folder("INBOX")[b"EXISTS"] == 4
        found = client.fetch([1, 2, 3, 4], ["ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE"])
        assert [data[b"ENVELOPE"].message_id for data in found.values()] == [
            b"<demo%d@example.org>" % at for at in range(4)]
        client.create_folder("INBOX.Gr\u00fc\u00dfe")
        client.multiappend("INBOX.Gr\u00fc\u00dfe", [MAIL, {"msg": MAIL, "flags": [b"\\Flagged"]}])
        client.select_folder("INBOX.Gr\u00fc\u00dfe")
        assert client.search(["SUBJECT", "LIBRARY"]) == [1, 2]
        assert client.get_flags([2])[2] == (b"\\Flagged", b"\\Recent")
        client.move([1], "INBOX")
        assert client.folder_status("INBOX", ["MESSAGES"])[b"MESSAGES"] == 5


def test_imapclient_asks_for_what_has_changed(listener: Server) -> None:
    imapclient = pytest.importorskip("imapclient")
    with imapclient.IMAPClient("localhost", listener.tls_port, ssl_context=trust(listener)) as client:
        client.login("demo", "demo")
        assert client.enable("CONDSTORE") == [b"CONDSTORE"]
        before = client.select_folder("INBOX")[b"HIGHESTMODSEQ"]
        assert client.fetch([1, 2, 3, 4], ["FLAGS"], modifiers=[f"CHANGEDSINCE {before}"]) == {}
        first = min((listener.maildir / "cur").iterdir())
        first.rename(first.with_name(first.name.partition(":")[0] + ":2,F"))
        found = client.fetch([1, 2, 3, 4], ["FLAGS"], modifiers=[f"CHANGEDSINCE {before}"])
        assert list(found) == [1]
        assert set(found[1][b"FLAGS"]) - {b"\\Recent"} == {b"\\Flagged"}
        assert found[1][b"MODSEQ"][0] > before
        assert client.search(["MODSEQ", str(before + 1)]) == [1]
        assert client.folder_status("INBOX", ["HIGHESTMODSEQ"])[b"HIGHESTMODSEQ"] == found[1][b"MODSEQ"][0]


# tests of IMAPClient's own suite that cannot pass, whatever the server
IMAPCLIENT_OWN = {
    "test_small_connection_timeout_fail": "wants connecting and TLS to take longer than a millisecond",
    "test_small_read_timeout_fail": "wants an answer to take longer than 10 microseconds",
    "test_fetch": "compares an Envelope by its length, and it has none",
    "test_getacl": "takes the user's name from its settings in a way that they do not have",
    "test_move": "by sequence number, a command that imaplib does not know",
}


def test_imapclients_own_tests(listener: Server, tmp_path: Path) -> None:
    pytest.importorskip("imapclient")
    config = tmp_path / "live.ini"
    config.write_text(f"[DEFAULT]\nhost = localhost\nport = {listener.tls_port}\nusername = demo\n"
                      "password = demo\nssl = true\nssl_check_hostname = false\nssl_verify_cert = false\n")
    done = subprocess.run([sys.executable, "-m", "imapclient.livetest", str(config)], capture_output=True,
                          text=True, timeout=100, check=False, cwd=tmp_path, env=plain_environ())
    count = re.search(r"Ran (\d+) tests", done.stderr)
    assert count is not None, done.stderr
    assert int(count[1]) >= 59
    failed = set(re.findall(r"^(?:ERROR|FAIL): (\w+)", done.stderr, re.M))
    assert failed <= set(IMAPCLIENT_OWN), done.stderr


def test_imap_tools(listener: Server) -> None:
    imap_tools = pytest.importorskip("imap_tools")
    with imap_tools.MailBox("localhost", listener.tls_port, ssl_context=trust(listener)).login(
            "demo", "demo") as box:
        mails = list(box.fetch(imap_tools.AND(all=True), mark_seen=False))
        assert [mail.subject for mail in mails] == BY_DATE
        assert mails[2].from_values.name == "Ren\u00e9"
        box.append(MAIL, "INBOX", flag_set=[imap_tools.MailMessageFlags.FLAGGED])
        assert box.uids(imap_tools.AND(subject="by a library", flagged=True)) == ["5"]
        box.folder.create("INBOX.kept")
        box.move(["5"], "INBOX.kept")
        assert box.folder.status("INBOX.kept")["MESSAGES"] == 1
        box.flag(["1", "2"], [imap_tools.MailMessageFlags.SEEN, "$Label1"], True)
    assert flags(listener.maildir)["Notes on the engine"] == "S"


def test_aioimaplib(listener: Server) -> None:
    aioimaplib = pytest.importorskip("aioimaplib")

    async def talk() -> None:
        client = aioimaplib.IMAP4_SSL("localhost", listener.tls_port, ssl_context=trust(listener))
        await client.wait_hello_from_server()
        assert (await client.login("demo", "demo")).result == "OK"
        assert (await client.select("INBOX")).result == "OK"
        waiting = await client.idle_start(timeout=20)
        name = "1700000009.M1P1.host"
        (listener.maildir / "tmp" / name).write_bytes(b"Subject: arrived\n\nx\n")
        (listener.maildir / "tmp" / name).rename(listener.maildir / "new" / name)
        told: list[bytes] = []
        while b"5 EXISTS" not in told:
            told += await asyncio.wait_for(client.wait_server_push(), 20)
        client.idle_done()
        await asyncio.wait_for(waiting, 20)
        found = await client.search("SUBJECT arrived")
        assert found.lines[0] == b"5"
        lines = (await client.fetch("5", "(BODY.PEEK[])")).lines
        assert lines[1] == b"Subject: arrived\r\n\r\nx\r\n"
        await client.logout()

    asyncio.run(talk())


def test_aioimaplib_notify_by_hand(listener: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no NOTIFY of its own: the command is written by hand, and IDLE passes on what comes."""
    aioimaplib = pytest.importorskip("aioimaplib")
    commands = aioimaplib.aioimaplib.Commands
    monkeypatch.setitem(commands, "NOTIFY",
                        commands["ENABLE"]._replace(name="NOTIFY", valid_states=("SELECTED",)))

    async def talk() -> None:
        client = aioimaplib.IMAP4_SSL("localhost", listener.tls_port, ssl_context=trust(listener))
        await client.wait_hello_from_server()
        for answer in (await client.login("demo", "demo"), await client.create("INBOX.kept"),
                       await client.select("INBOX")):
            assert answer.result == "OK"
        told = await client.protocol.execute(aioimaplib.Command(
            "NOTIFY", client.protocol.new_tag(), "SET (selected (MessageNew MessageExpunge)) "
            "(subtree INBOX (MessageNew MessageExpunge MailboxName))"))
        assert told.result == "OK"
        waiting = await client.idle_start(timeout=20)
        name = "1700000009.M1P1.host"
        for folder in (listener.maildir / ".kept", listener.maildir):
            (folder / "tmp" / name).write_bytes(b"Subject: arrived\n\nx\n")
            (folder / "tmp" / name).rename(folder / "new" / name)
        heard: list[bytes] = []
        while b"5 EXISTS" not in heard or not any(b"INBOX.kept" in line and b"MESSAGES 1" in line
                                                  for line in heard):
            heard += await asyncio.wait_for(client.wait_server_push(), 20)
        client.idle_done()
        await asyncio.wait_for(waiting, 20)
        await client.logout()

    asyncio.run(talk())


def test_go_imap(listener: Server, tmp_path: Path) -> None:
    program = shutil.which(str(REPO / ".venv" / "clients" / "go_imap"))
    if program is None:
        missing("go-imap is not installed")
    told = json.loads(run([program, str(listener.port), str(listener.tls_port), str(listener.certificate)],
                          tmp_path))
    assert told["mailboxes"] == ["INBOX"]
    assert (told["exists"], told["pushed"], told["subjects"]) == (4, 6, BY_DATE)
    assert (told["found"], told["date"]) == ([5], 1_700_000_000)
    assert told["text"] == "Subject: by go-imap\r\n\r\nbody\r\n"
    assert told["flags"] == ["\\Flagged", "\\Recent"]
    assert (told["moved"], told["gone"]) == ([1, 2], [5])
    assert flags(listener.maildir / ".kept") == {"by go-imap": "F"}
    assert len(flags(listener.maildir)) == 4


def node(program: str, listener: Server, home: Path, *words: str) -> dict[str, object]:
    """What a program beside this file printed; its modules are those of install_clients."""
    modules = HERE / "node" / "node_modules"
    if not modules.is_dir() and not os.environ.get("COURIERPY_REQUIRE_CLIENTS"):
        pytest.skip("its modules are not installed")
    found: dict[str, object] = json.loads(run([need("node"), str(HERE / "node" / program),
                                               str(listener.tls_port), str(listener.certificate), *words],
                                              home))
    return found


def test_imapflow(listener: Server, tmp_path: Path) -> None:
    told = node("flow.mjs", listener, tmp_path)
    assert told["mailboxes"] == ["INBOX"]
    assert told["subjects"] == BY_DATE
    assert (told["exists"], told["count"], told["uid"], told["found"]) == (4, 5, 5, [5])
    assert told["source"] == "Subject: by imapflow\r\n\r\nbody\r\n"
    assert told["status"] == {"path": "INBOX.Gr\u00fc\u00dfe", "messages": 1}
    assert flags(listener.maildir)["Notes on the engine"] == "S"
    assert list(flags(listener.maildir / ".Gr\u00fc\u00dfe")) == ["by imapflow"]


def test_imapflow_comes_back(listener: Server, tmp_path: Path) -> None:
    """By QRESYNC, in a session of IMAP4rev2 and UTF8=ACCEPT: what went and what changed, and no more."""
    before = node("resync.mjs", listener, tmp_path)
    assert before["enabled"] == ["CONDSTORE", "IMAP4REV2", "QRESYNC", "UTF8=ACCEPT"]
    assert (before["exists"], before["uids"], before["gone"]) == (4, [1, 2, 3, 4], [])
    first, second, *_ = sorted((listener.maildir / "cur").iterdir())
    first.rename(first.with_name(first.name.partition(":")[0] + ":2,FS"))
    second.unlink()
    (listener.maildir / "new" / "1800000000.M1P1.host").write_bytes(b"Subject: late\n\nx\n")
    after = node("resync.mjs", listener, tmp_path, str(before["modseq"]), str(before["validity"]))
    assert (after["exists"], after["uids"]) == (4, [1, 3, 4, 5])
    assert after["gone"] == [[2, True, True]]
    assert after["flags"] == {"1": ["\\Flagged", "\\Seen"], "5": []}
    assert int(str(after["modseq"])) > int(str(before["modseq"]))


def test_node_imap(listener: Server, tmp_path: Path) -> None:
    told = node("node_imap.cjs", listener, tmp_path)
    assert told["subjects"] == BY_DATE
    assert (told["total"], told["found"], told["left"]) == (4, [5], 4)
    assert told["sorted"] == [1, 2, 3, 5, 4]
    assert told["threads"]
    assert len(flags(listener.maildir)) == 4


def test_node_imap_asks_for_what_has_changed(listener: Server, tmp_path: Path) -> None:
    """By CONDSTORE, which it uses where it is told."""
    told: dict[str, Any] = node("node_modseq.cjs", listener, tmp_path)
    highest, after = int(told["highest"]), int(told["changed"]["1"]["modseq"])
    assert {uid: mail["flags"] for uid, mail in told["before"].items()} == dict.fromkeys("1234", [])
    assert list(told["changed"]) == ["1"]
    assert after > highest
    assert told["changed"]["1"]["flags"] == ["\\Flagged"]
    assert [*map(int, told["found"])] == [1]               # it leaves them as words
    assert int(told["status"]) == after
    assert sorted(flags(listener.maildir).values()) == ["", "", "", "F"]


def test_ruby_net_imap(listener: Server, tmp_path: Path) -> None:
    told = json.loads(run([need("ruby"), str(HERE / "net_imap.rb"), str(listener.tls_port),
                           str(listener.certificate)], tmp_path, LC_ALL="C.UTF-8"))
    assert told["mailboxes"] == ["INBOX"]
    assert (told["exists"], told["found"], told["left"]) == (4, [5], 4)
    assert len(told["subjects"]) == 4
    assert told["text"] == "Subject: by Net::IMAP\r\n\r\nbody\r\n"
    assert told["flags"] == ["Flagged", "Recent"]
    assert told["sorted"] == [5, 1, 2, 3, 4]
    assert told["threads"] == 4


# Mail::IMAPClient deletes a name that was only the level above a mailbox that is gone
PERL_OWN = {"delete parent folder"}


def test_perl_mail_imapclients_own_tests(listener: Server, tmp_path: Path) -> None:
    source = REPO / ".venv" / "clients" / "Mail-IMAPClient"
    if not source.is_dir():
        missing("its source is not there")
    client = imaplib.IMAP4("localhost", listener.port)
    client.login("demo", "demo")
    client.create("INBOX.Sent")                    # it makes its own beside others only
    client.logout()
    folder = tmp_path / "tests"
    shutil.copytree(source, folder)
    (folder / "test.txt").write_text(f"server=localhost\nport={listener.port}\nuser=demo\npassed=demo\n")
    done = subprocess.run([need("perl"), "-Ilib", "t/basic.t"], cwd=folder, capture_output=True, text=True,
                          timeout=60, check=False, env=plain_environ(HOME=str(tmp_path)))
    results = re.findall(r"^(not )?ok \d+ - (.*)", done.stdout, re.M)
    assert len(results) >= 111, done.stdout + done.stderr
    assert {name for bad, name in results if bad} <= PERL_OWN, done.stderr
