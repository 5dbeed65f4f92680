"""couriertcpd, imaplogin and imapd, where SMAP is spoken beside IMAP."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import until
from tests.programs.chain import Chain, chain

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=["process", "doorway"])
def served(request: pytest.FixtureRequest) -> Iterator[Chain]:
    """With and without login processes."""
    with chain(SMAP_CAPABILITY="SMAP1", IMAP_LOGIN_DELAY="0",
               IMAP_LOGIN_PROCESSES="1" if request.param == "doorway" else "0") as found:
        yield found


def test_a_session(served: Chain) -> None:
    with served.connect() as client:
        assert b" SMAP1 KEYWORDS" in until(client, b"\r\n")
        client.sendall(b"\\SMAP1 LOGIN demo wrong\n")
        assert until(client, b"\n") == b"-ERR Login failed.\n"
        client.sendall(b'\\SMAP1 LOGIN demo "demo"\nOPEN INBOX\nLOGOUT\n')
        told = until(client, b"LOGOUT completed\n").splitlines()
    assert told[0] == b"+OK SMAP1 LOGIN Ok." and told[1].startswith(b"* EXISTS ")
    assert told[2:] == [b"+OK Folder opened", b"* BYE Courier-SMAP server shutting down",
                        b"+OK LOGOUT completed"]
    served.wait_log("protocol=SMAP1")


def test_a_session_of_imap_in_the_process_of_one_of_smap(served: Chain) -> None:
    for _ in range(2):
        with served.session(b"SELECT INBOX") as client:
            client.sendall(b"a LOGOUT\r\n")
            assert b"a OK" in until(client, b"a OK")
        with served.connect() as client:
            until(client, b"\r\n")
            client.sendall(b"\\SMAP1 LOGIN demo demo\nNOOP\nLOGOUT\n")
            assert b"+OK Folder updated\n" in until(client, b"LOGOUT completed\n")
