"""deliver: the words of the command line, what an MTA hears by the exit status."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from courierpy.maildir.store import Store
from tests.conftest import account_ids, account_python, plain_environ
from tests.lmtp.talk import Post

TEXT = b"Subject: hello\nMessage-ID: <1@example.com>\n\nbody\n.\n"


def deliver(post: Post, *words: str, text: bytes = TEXT, before: tuple[str, ...] = (),
            python: str = sys.executable, **environ: str) -> int:
    """The exit status."""
    values = {**plain_environ(), **post.settings, **environ}
    with post.log.open("ab") as log:
        return subprocess.run([*before, python, "-m", "courierpy.deliver", *words], input=text, stderr=log,
                              env=values, check=False, timeout=60, cwd=post.folder).returncode


def test_to_users(post: Post) -> None:
    assert deliver(post, "-r", "sender@example.com", "ann", "bob@example.org") == 0
    copy, = post.mail("ann")
    assert copy.startswith(b"Return-Path: <sender@example.com>\nDelivered-To: ann\nReceived:\n\tby ")
    assert copy.endswith(TEXT)
    assert len(post.mail("bob")) == 1
    assert deliver(post, "ann", "nobody", text=b"Subject: second\n\n") == 67
    assert len(post.mail("ann")) == 2          # who is known has it
    text = b"From x Mon Jan  1 10:00 2024\nA: b\n"
    assert deliver(post, "-f", "", "-d", "-a", "x", "-t", "y", "ann", text=text) == 0
    last = post.mail("ann")[-1]
    assert last.startswith(b"Return-Path: <>\n") and last.endswith(b"\nA: b\n") and b"From x" not in last


def test_a_mailbox_of_a_user(post: Post) -> None:
    post.account("dave", "", ".lists")
    assert deliver(post, "-m", "lists", "dave") == 0
    assert deliver(post, "-m", "INBOX.lists", "dave", text=b"A: b\n\n") == 0
    assert deliver(post, "-m", "other", "dave") == 0
    assert [len(post.mail("dave", box)) for box in (".lists", "")] == [2, 1]


def test_a_mailbox_with_a_list_of_rights(post: Post) -> None:
    """Who may not post gets it to INBOX.  RFC 4314 2.1."""
    box = post.account("dave", "", ".lists") / ".lists"
    for number, (rights, words, there) in enumerate((
            ("owner aceilrstwx\n", (), False), ("owner aceilrstwx\nanyone lr\n", (), False),
            ("owner aceilrstwx\nanyone p\n", (), True), ("owner aceilrstwx\nuser=bob lrp\n", (), False),
            ("owner aceilrstwx\nuser=bob lrp\n", ("-a", "bob"), True))):
        (box / "courierimapacl").write_text(rights)
        before = len(post.mail("dave", ".lists"))
        assert deliver(post, "-m", "lists", *words, "dave", text=b"A: %d\n\n" % number) == 0
        assert len(post.mail("dave", ".lists")) - before == there, rights


def test_a_new_mailbox_takes_mail_as_the_one_above_it(post: Post) -> None:
    """p is inherited with the rest.  RFC 4314 4."""
    maildir = post.account("dora")
    store = Store(str(maildir), host="host")
    for entries, name in (("anyone p\n", "INBOX.lists"), ("", "INBOX.shut")):
        (maildir / "courierimapacl").write_text(f"owner aceilrstwx\n{entries}")
        store.create(name)
    for path in maildir.rglob("*"):
        os.chown(path, *account_ids())
    for name in ("lists", "shut"):
        assert deliver(post, "-m", name, "dora", text=b"A: b\n\n") == 0
    assert (len(post.mail("dora", ".lists")), len(post.mail("dora", ".shut"))) == (1, 0)


def test_what_an_mta_hears(post: Post) -> None:
    assert deliver(post, "-x") == 64 and deliver(post, "-m") == 64 and deliver(post, "-r", "a b", "ann") == 64
    assert deliver(post, "nobody") == 67 and deliver(post, "a b") == 67
    post.rows["ann"] += "|quota=10S"
    post.write()
    assert deliver(post, "ann") == 77 and post.mail("ann") == []
    assert deliver(post, "-q", "ann") == 0
    assert deliver(post, "ann", "nobody", text=b"A: b\n\n" * 9) == 75
    shutil.rmtree(post.folder / "bob" / "Maildir" / "new")
    (post.folder / "bob" / "Maildir" / "new").write_text("no directory")
    assert deliver(post, "bob") == 75
    os.rename(post.folder / "bob" / "Maildir", post.folder / "bob" / "Mail")
    assert deliver(post, "bob") == 75
    there = post.folder / "bob" / "Maildir"
    assert f" {there}: No such file or directory: a Maildir was expected\n" in post.log.read_text()
    (post.folder / "bob" / "Mail").rename(there)
    if os.getuid() == 0:
        there.chmod(0)
        os.chown(there, 0, 0)
        assert deliver(post, "bob") == 75
        assert f" {there}: Permission denied\n" in post.log.read_text()
    assert deliver(post, "-C", str(post.folder / "nothing"), "ann") == 75
    assert f"{post.folder}/nothing: No such file or directory (a file of settings was expected)\n" \
        in post.log.read_text()
    post.userdb.unlink()
    assert deliver(post, "ann") == 75
    assert "Traceback" not in post.log.read_text()


def test_an_installation_that_is_half_there(post: Post) -> None:
    """The message waits until somebody mends it."""
    library = post.folder / "library"
    (library / "courierpy").mkdir(parents=True)
    house = Path(sys.modules["courierpy"].__file__ or "").parent
    for name in ("__init__.py", "deliver.py"):
        shutil.copy(house / name, library / "courierpy" / name)
    program = f"import sys\nsys.path.insert(0, {str(library)!r})\nfrom courierpy.deliver import run\nrun()\n"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program, "ann"], input=TEXT, capture_output=True,
                          env={**plain_environ(), **post.settings}, check=False, timeout=60)
    assert done.returncode == 75 and b"ImportError" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="as root it is another user's .forward")
def test_from_a_forward(post: Post) -> None:
    """As the user, without an account database."""
    python, library = account_python(post.folder)
    home = post.folder / "ann"
    (home / "Maildir" / ".lists").mkdir()
    for part in ("cur", "new", "tmp"):
        (home / "Maildir" / ".lists" / part).mkdir()
    uid, gid = account_ids()
    for path in (home / "Maildir").rglob("*"):
        os.chown(path, uid, gid)
    become = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    environ = {"HOME": str(home), "SENDER": "s@example.com", "RECIPIENT": "ann@example.org", "USERDB": "",
               "PYTHONPATH": library}
    text = b"From s\nReturn-Path: <s>\n" + TEXT
    assert deliver(post, before=become, python=python, text=text, **environ) == 0
    copy, = post.mail("ann")
    assert copy.startswith(b"Return-Path: <s@example.com>\nDelivered-To: ann@example.org\n")
    assert copy.count(b"Return-Path") == 1
    assert deliver(post, "-m", "lists", before=become, python=python, **environ) == 0
    assert deliver(post, "-m", "other", before=become, python=python, **environ) == 77
    assert [len(post.mail("ann", box)) for box in (".lists", "")] == [1, 1]


def test_lmtp_of_deliver(post: Post) -> None:
    dialogue = b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\nA: b\r\n\r\n.\r\nQUIT\r\n"
    done = subprocess.run([sys.executable, "-m", "courierpy.deliver", "-l"], capture_output=True, check=False,
                          timeout=60, env={**plain_environ(), **post.settings}, input=dialogue)
    assert done.stdout.endswith(b"250 2.1.5 Delivered\r\n221 2.0.0 Good bye\r\n"), done.stderr
    assert len(post.mail("ann")) == 1
