"""What a process looks at that has nothing loaded which hears of changes, as one from a shell."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from courierpy.maildir import survey
from courierpy.maildir.store import Store
from tests.conftest import fill, plain_environ

COUNT = 40                         # enough for an index
PROGRAM = """
import sys
from courierpy.maildir import survey
from courierpy.maildir.store import Store
survey.READ_RATHER, survey.RATHER_OCTETS = int(sys.argv[2]), int(sys.argv[3])
mailbox = Store(sys.argv[1], host="host").open("INBOX")
mailbox.join()
print(len(mailbox.scan().messages), "pyinotify" in sys.modules)
mailbox.close()
"""


def look(maildir: Path, few: int, octets: int) -> list[str]:
    """(How many messages a new process finds, did it load what hears of changes?)"""
    return subprocess.run([sys.executable, "-c", PROGRAM, str(maildir), str(few), str(octets)], check=True,
                          env=plain_environ(), capture_output=True, text=True).stdout.split()


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """With an index, and a message that came since."""
    maildir = tmp_path / "Maildir"
    fill(maildir, COUNT)
    for _ in range(2):
        for path in (maildir / "cur", maildir / "new", maildir / "courierimapuiddb"):
            if path.exists():
                os.utime(path, (1_700_000_000.5, 1_700_000_000.5))
        mailbox = Store(str(maildir), host="host").open("INBOX")
        mailbox.join()
        assert len(mailbox.scan().messages) == COUNT
        mailbox.close()
    assert (maildir / "courierpyindex" / "columns").exists()
    (maildir / "new" / "1700000999.M1P1.host").write_bytes(b"Subject: late\n\nText.\n")
    return maildir


@pytest.mark.parametrize("few", [COUNT, COUNT + 1, survey.READ_RATHER])
def test_few_messages_are_read_again_where_mail_came(maildir: Path, few: int) -> None:
    loads = "True" if few == COUNT else "False"
    assert look(maildir, few, survey.RATHER_OCTETS) == [str(COUNT + 1), loads]
    assert look(maildir, few, survey.RATHER_OCTETS)[0] == str(COUNT + 1)


@pytest.mark.parametrize("octets", [0, survey.RATHER_OCTETS])
def test_a_small_directory_is_read_without_a_watch(maildir: Path, octets: int) -> None:
    (maildir / "courierpyindex" / "columns").unlink()
    assert look(maildir, COUNT + 1, octets) == [str(COUNT + 1), str(not octets)]
