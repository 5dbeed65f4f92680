"""courierpy check: what is odd in a Maildir, and what --fix puts right."""
from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pexpect
import pytest

from courierpy.admin import main
from courierpy.admin.check import STEP
from courierpy.maildir.store import Store
from tests.conftest import REPO, fill, plain_environ


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three messages in INBOX, and an empty Work."""
    root = tmp_path / "M"
    fill(root, 3)
    store = Store(str(root))
    store.create("INBOX.Work")
    store.open("INBOX").scan()
    return root


def check(capfd: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[tuple[str, bool]]]:
    """(exit status, kind and mended of each fault)."""
    status = main(["courierpy", "check", "-J", *map(str, words)])
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    return status, [(row["kind"], row["mended"]) for row in rows]


def files(root: Path) -> list[Path]:
    return sorted((root / "cur").iterdir())


def test_a_sound_one(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}
    assert check(capfd, root) == (0, [])
    assert {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))} == before


def missing_part(root: Path) -> None:
    (root / ".Work" / "tmp").rmdir()


def line_without_file(root: Path) -> None:
    files(root)[1].unlink()


def uidnext_too_low(root: Path) -> None:
    uids = root / "courierimapuiddb"
    head, _, rest = uids.read_text().partition("\n")
    version, uidvalidity, _ = head.split()
    uids.write_text(f"{version} {uidvalidity} 2\n{rest}")


def flags_in_new(root: Path) -> None:
    (root / "new" / "1800000000.M1P1.host:2,S").touch()


def stale_lock(root: Path) -> None:
    lock = root / "tmp" / "courier.lock"
    lock.write_text("1:elsewhere.example")
    os.utime(lock, (time.time() - 3600,) * 2)


def unreadable(root: Path) -> None:
    files(root)[0].chmod(0)


def wrong_quota(root: Path) -> None:
    (root / "maildirsize").write_bytes(b"9C\n          10            9\n")


@pytest.mark.parametrize(("damage", "kind"), [
    (missing_part, "part"), (line_without_file, "lines"), (uidnext_too_low, "numbers"), (flags_in_new, "new"),
    (stale_lock, "lock"), (unreadable, "mode"), (wrong_quota, "quota")])
def test_what_is_mended(damage: object, kind: str, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert callable(damage)
    before = Store(str(root)).open("INBOX").scan()
    damage(root)
    assert check(capfd, root) == (1, [(kind, False)])
    assert check(capfd, "--fix", "-n", root) == (1, [(kind, False)])
    assert check(capfd, "--fix", root) == (0, [(kind, True)])
    assert check(capfd, root) == (0, [])
    after = Store(str(root)).open("INBOX").scan()
    assert after.uidvalidity == before.uidvalidity
    assert after.uidnext >= before.uidnext
    kept = set(before.messages.uids) - ({2} if damage is line_without_file else set())
    assert kept <= set(after.messages.uids)


def no_maildirfolder(root: Path) -> None:
    (root / ".Work" / "maildirfolder").unlink()


def twin(root: Path) -> None:
    first = files(root)[0]
    os.link(first, root / "cur" / (first.name.partition(":")[0] + ":2,F"))


def wrong_size(root: Path) -> None:
    (root / "new" / "1800000000.M1P1.host,S=9").write_bytes(b"a: b\n")


def dangling(root: Path) -> None:
    (root / "cur" / "1800000000.M1P1.host:2,").symlink_to("nowhere")


def subscribed(root: Path) -> None:
    Store(str(root)).subscribe("INBOX.Gone", True)


@pytest.mark.parametrize(("damage", "kind"), [
    (no_maildirfolder, "maildirfolder"), (twin, "twin"), (wrong_size, "size"), (dangling, "odd"),
    (subscribed, "subscription")])
def test_what_is_told(damage: object, kind: str, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert callable(damage)
    damage(root)
    for words in ([], ["--fix"]):
        assert check(capfd, *words, root) == (1, [(kind, False)])


def test_what_is_missing(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gone = files(root)[1]
    gone.unlink()
    assert main(["courierpy", "check", "--missing", str(root)]) == 1
    assert capfd.readouterr() == (f"{str(gone).partition(':')[0]}\n", "")


def age(root: Path) -> None:
    """All is of a year ago: what is so young that it may change yet is not kept in an index."""
    for path in (*root.rglob("*"), root):
        os.utime(path, (time.time(), time.time() - 365 * 86400))


def test_odd_files_are_put_aside(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Never removed; and nothing else is."""
    before = files(root)
    (root / "cur" / "directory:2,").mkdir()
    (root / ".Work" / "cur" / "gone:2,S").symlink_to("nowhere")
    (root / "lost+found").mkdir()
    (root / "lost+found" / "._directory:2,").touch()
    faults = [("odd", False), ("odd", False)]
    assert check(capfd, root) == check(capfd, "--fix", root) == check(capfd, "-n", root) == (1, faults)
    assert check(capfd, "-o", root) == (0, [])
    assert check(capfd, "--fix", "-O", "-n", root) == (1, faults)
    assert check(capfd, "--fix", "-O", root) == (0, [("odd", True), ("odd", True)])
    assert check(capfd, root) == (0, [])
    assert files(root) == before
    kept = {path.name: path for path in (root / "lost+found").iterdir()}
    assert set(kept) == {"._directory:2,", "._directory:2,.1", ".Work_gone:2,S"}
    assert kept["._directory:2,.1"].is_dir() and kept[".Work_gone:2,S"].is_symlink()
    assert Store(str(root)).names() == ["INBOX", "INBOX.Work"]


def test_each_message_is_compared_with_the_index(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    age(root)
    assert main(["courierpy", "reindex", str(root)]) == 0
    capfd.readouterr()
    assert check(capfd, "-G", root) == (0, [])
    path = files(root)[1]
    seen = path.stat()
    path.write_bytes(path.read_bytes().replace(b"Subject: ", b"Subject: X"))      # as none may
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert check(capfd, root) == (0, [])
    status, found = check(capfd, "-G", root)
    assert status == 1 and set(found) == {("values", False)}
    assert set(check(capfd, "-G", "--fix", root)[1]) == {("values", True)}
    assert check(capfd, "-G", root) == (0, [])


def test_an_index_of_another_version_is_made_anew(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(root, 40)
    Store(str(root)).open("INBOX").scan()
    age(root)
    folder = Store(str(root)).open("INBOX")
    folder.scan()
    folder.close(wait=True)
    columns = root / "courierpyindex" / "columns"
    columns.write_bytes(columns.read_bytes().replace(b"courierpy 7", b"courierpy 6"))
    assert check(capfd, root) == check(capfd, "--fix", root) == (1, [("index", False)])
    assert check(capfd, "--fix", "-V", "7", root) == (0, [("index", True)])
    assert check(capfd, root) == (0, [])
    assert main(["courierpy", "check", "-V", "5", str(root)]) == os.EX_USAGE


@pytest.mark.parametrize("words", [["check", "--fix", "--new-uidvalidity"], ["touch", "-r"]])
def test_another_uidvalidity(words: list[str], root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """UIDs stay.  Who has the mailbox open sees that it is another one."""
    store = Store(str(root))
    folder = store.open("INBOX")
    folder.join()
    before = folder.scan()
    assert main(["courierpy", *words, str(root)]) == os.EX_USAGE
    assert main(["courierpy", *words, "-n", "--mailbox", "INBOX", str(root)]) == 0
    assert Store(str(root)).open("INBOX").scan(readonly=True).uidvalidity == before.uidvalidity
    assert main(["courierpy", *words, "--mailbox", "INBOX", str(root)]) == 0
    after = Store(str(root)).open("INBOX").scan(readonly=True)
    assert after.uidvalidity > before.uidvalidity
    assert (list(after.messages.uids), after.uidnext) == (list(before.messages.uids), before.uidnext)
    assert folder.scan().uidvalidity == after.uidvalidity
    store.create("INBOX.More")
    assert store.open("INBOX.More").scan().uidvalidity > after.uidvalidity
    capfd.readouterr()


@pytest.mark.parametrize("words", [["-O"], ["-O", "--fix", "-o"], ["--new-uidvalidity", "--mailbox", "INBOX"],
                                   ["-V", "x"]])
def test_wrong_words(words: list[str], root: Path) -> None:
    assert main(["courierpy", "check", *words, str(root)]) == os.EX_USAGE


def on_a_terminal(*words: str | Path) -> str:
    """What a tool shows there."""
    child = pexpect.spawn(sys.executable, ["-m", "courierpy", *map(str, words)], cwd=REPO, timeout=60,
                          env=plain_environ(), encoding="utf-8", dimensions=(24, 160))
    child.expect(pexpect.EOF)
    child.close()
    return f"{child.before}\nexit {child.exitstatus}"


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """As many messages as a bar has steps; and a line of what is odd has a line of its own."""
    root = tmp_path / "M"
    fill(root, 2 * STEP)
    for path in (root / "new").iterdir():
        path.rename(root / "cur" / f"{path.name}:2,")
    Store(str(root)).open("INBOX").scan()
    shown = on_a_terminal("check", root)
    assert f"100% {2 * STEP:,}/{2 * STEP:,} " in shown and shown.endswith("exit 0"), shown
    (root / "cur" / "odd:2,").mkdir()
    shown = on_a_terminal("check", root)
    assert f"\r\033[K{root}" in shown and shown.endswith("exit 1"), shown
    shown = on_a_terminal("purge", "-d", "1", "-i", "-f", "-n", root)
    assert "Traceback" not in shown and shown.endswith("exit 0"), shown
