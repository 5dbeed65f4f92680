"""Two sessions set annotations of one mailbox at once, and are killed: what was answered with OK is there."""
from __future__ import annotations

import sys
from pathlib import Path

from tests.pop3.client import Pop3d, fill

IMAPD = (sys.executable, "-m", "courierpy.imapd")
EACH = 50                          # entries of one session: with the other's as many as a mailbox may have


def test_no_entry_is_lost(tmp_path: Path) -> None:
    fill(tmp_path)
    with Pop3d(tmp_path, IMAPD) as one, Pop3d(tmp_path, IMAPD) as other:
        sessions = {b"one": one, b"other": other}
        for session in sessions.values():
            assert session.line().startswith(b"* PREAUTH ")
        for number in range(EACH):
            for name, session in sessions.items():
                session.say(b"%d SETMETADATA INBOX (/private/vendor/%s/%d \"%d\")"
                            % (number, name, number, number))
        for session in sessions.values():
            for number in range(EACH):
                assert session.line().startswith(b"%d OK " % number)
        for session in sessions.values():
            session.process.kill()

    with Pop3d(tmp_path, IMAPD) as later:
        later.line()
        told = later.ask(b"a GETMETADATA (DEPTH infinity) INBOX /private/vendor")
        assert told.startswith(b'* METADATA "INBOX" (')
        for name in sessions:
            for number in range(EACH):
                assert b"/private/vendor/%s/%d \"%d\"" % (name, number, number) in told
