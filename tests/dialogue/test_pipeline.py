"""Commands that come together: what others changed is told after the last of them."""
from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from tests.conftest import plain_environ


def test_changes_of_others_are_told_at_the_end(tunnel: str, maildir: Path) -> None:
    with subprocess.Popen(shlex.split(tunnel), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=plain_environ(), bufsize=0) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        replies = client.stdout

        def until(tag: bytes) -> list[bytes]:
            lines = [replies.readline()]
            while not lines[-1].startswith(tag):
                assert lines[-1]
                lines.append(replies.readline())
            return lines

        client.stdin.write(b"a SELECT INBOX\r\n")
        until(b"a OK")
        file = sorted(os.listdir(maildir / "cur"))[1]
        os.rename(maildir / "cur" / file, maildir / "cur" / (file + "F"))
        client.stdin.write(b"b FETCH 1 (UID)\r\nc UID FETCH 1 (UID)\r\nd FETCH 1 (UID)\r\n")
        assert until(b"d OK") == [
            b"* 1 FETCH (UID 1)\r\n", b"b OK FETCH completed.\r\n",
            b"* 1 FETCH (UID 1)\r\n", b"c OK FETCH completed.\r\n",
            b"* 1 FETCH (UID 1)\r\n", b"* 2 FETCH (FLAGS (\\Flagged \\Recent))\r\n",
            b"d OK FETCH completed.\r\n"]
        client.stdin.write(b"e LOGOUT\r\n")
        until(b"e OK")
