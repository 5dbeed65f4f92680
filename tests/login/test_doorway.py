"""When clients before their login can share processes."""
from __future__ import annotations

import pytest

from courierpy import doorway
from courierpy.listener.options import Options

PROGRAM = ["imapd", "Maildir"]


@pytest.mark.parametrize(("words", "program", "environ", "why"), [
    ([], "imaplogin", {}, ""), (["-tls"], "imaplogin", {"IMAP_LOGIN_REFERRALS": "0"}, ""),
    ([], "imaplogin", {"IMAP_LOGIN_REFERRALS": "1", "IMAP_PROXY": "1"}, ""),
    (["-exec"], "imaplogin", {}, "-exec"),
    (["-block=bl.test", "-drop"], "imaplogin", {}, ""),
    ([], "/usr/sbin/other", {}, "programs that are not ours")])
def test_what_wants_a_process_for_each_connection(words: list[str], program: str, environ: dict[str, str],
                                                  why: str) -> None:
    options = Options(["-nodnslookup", *words, "143"])
    assert doorway.why_not(options, program, PROGRAM, environ) == why
