"""The ways to tell: what the other side gets, and what its answer means."""
from __future__ import annotations

import json
import socket
import sys
from email import message_from_bytes
from pathlib import Path

import pytest

from courierpy.admin import mkcert
from courierpy.newmail import methods, webhook
from courierpy.newmail.errors import Gone, Later, Refused
from courierpy.newmail.event import Event
from courierpy.newmail.queue import Entry
from courierpy.system.settings import Settings
from tests.newmail.urls import heard

EVENT = Event("ann", "INBOX", 5, about={"subject": "se\u00fcret", "size": "7"})
HERE = {"NOTIFYD_NETWORKS": "127.0.0.0/8 ::1"}


def tell(method: str, secret: str = "", token: str = "", event: Event = EVENT, **values: str) -> None:
    settings = Settings({**HERE, **values})
    methods.QUEUED[method](Entry("x", method, event, token=token), settings, secret)


def test_webhook() -> None:
    with heard(204) as (url, server):
        tell("webhook", "s3cret", NOTIFYD_WEBHOOK_URL=url)
        tell("webhook", NOTIFYD_WEBHOOK_URL=url, NOTIFYD_FIELDS="Subject size")
    (path, headers, body), (_, plain, more) = server.seen
    assert path == "/hear?a=b" and headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer s3cret" and "Authorization" not in plain
    assert headers["Idempotency-Key"] == EVENT.ident
    assert json.loads(body) == {"event": "newmail", "id": EVENT.ident, "user": "ann", "mailbox": "INBOX",
                                "time": 5}
    assert json.loads(more) == {**json.loads(body), "subject": "se\u00fcret", "size": "7"}


@pytest.mark.parametrize(("status", "failure"), [
    (400, Refused), (410, Refused), (422, Refused), (301, Later), (302, Later), (401, Later), (403, Later),
    (404, Later), (408, Later), (429, Later), (500, Later), (503, Later)])
def test_answers_of_a_webhook(status: int, failure: type[Exception]) -> None:
    with heard(status) as (url, server), pytest.raises(failure) as caught:
        tell("webhook", NOTIFYD_WEBHOOK_URL=url)
    assert type(caught.value) is failure and len(server.seen) == 1         # no redirection is followed


def test_tokens() -> None:
    """A device is told by its token alone: nothing of the user."""
    with heard(200, 410, 404, 503, 400) as (url, server):
        tell("token", "s3cret", "fcm:abc", NOTIFYD_TOKEN_URL=url, NOTIFYD_FIELDS="subject")
        for failure in (Gone, Gone, Later, Refused):
            with pytest.raises(failure) as caught:
                tell("token", token="fcm:abc", NOTIFYD_TOKEN_URL=url)
            assert type(caught.value) is failure
    _, headers, body = server.seen[0]
    assert body == b"fcm:abc" and headers["Content-Type"] == "text/plain"
    assert "Idempotency-Key" not in headers and "Authorization" not in headers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    mkcert.make(str(path), "localhost")
    mkcert.make(f"{path}.other", "other.example")
    return path


def test_certificates(certificate: Path) -> None:
    """Of an authority that is trusted, and of that host: else nothing is sent."""
    other = Path(f"{certificate}.other")
    with heard(certificate=certificate) as (url, server):
        tell("webhook", NOTIFYD_WEBHOOK_URL=url, NOTIFYD_TRUSTCERTS=str(certificate))
        for trusted in ("", str(other)):
            with pytest.raises(Later, match="certificate"):
                tell("webhook", NOTIFYD_WEBHOOK_URL=url, NOTIFYD_TRUSTCERTS=trusted)
    with heard(certificate=other) as (url, second), pytest.raises(Later, match="certificate|localhost"):
        tell("webhook", NOTIFYD_WEBHOOK_URL=url, NOTIFYD_TRUSTCERTS=str(other))
    assert (len(server.seen), len(second.seen)) == (1, 0)


@pytest.mark.parametrize(("address", "secure", "allowed", "goes"), [
    ("127.0.0.1", True, "", False), ("10.1.2.3", True, "", False), ("169.254.169.254", True, "", False),
    ("::1", True, "", False), ("fe80::1%eth0", True, "", False), ("::ffff:127.0.0.1", True, "", False),
    ("224.0.0.1", True, "", False), ("0.0.0.0", True, "", False), ("8.8.8.8", True, "", True),
    ("2001:4860:4860::8888", True, "", True), ("8.8.8.8", False, "", False),
    ("8.8.8.8", True, "127.0.0.0/8", False), ("127.0.0.1", False, "127.0.0.0/8", True),
    ("::ffff:127.0.0.1", False, "127.0.0.1", True), ("192.168.1.1", False, "10.0.0.0/8, 192.168.0.0/16",
     True)])
def test_where_a_url_may_lead(address: str, secure: bool, allowed: str, goes: bool) -> None:
    assert webhook.may_go(address, secure, webhook.networks(allowed)) is goes


def test_this_host_only_where_it_is_allowed() -> None:
    with heard() as (url, server):
        with pytest.raises(Later, match="NOTIFYD_NETWORKS"):
            tell("webhook", NOTIFYD_WEBHOOK_URL=url, NOTIFYD_NETWORKS="")
        with pytest.raises(Refused, match="NOTIFYD_NETWORKS"):
            tell("webhook", NOTIFYD_WEBHOOK_URL=url, NOTIFYD_NETWORKS="here")
    assert server.seen == []


@pytest.mark.parametrize("url", ["", "ftp://x/", "https://", "https://a:b@x/", "file:///etc/passwd",
                                 "http://x:port/", "https://[::1"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(Refused):
        tell("webhook", NOTIFYD_WEBHOOK_URL=url)


def test_one_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Later, match="timed out"):
        tell("webhook", NOTIFYD_WEBHOOK_URL=f"http://127.0.0.1:{server.getsockname()[1]}/",
             NOTIFYD_TIMEOUT="1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))              # nobody listens there
        with pytest.raises(Later, match="refused"):
            tell("webhook", NOTIFYD_WEBHOOK_URL=f"http://127.0.0.1:{closed.getsockname()[1]}/")


def program(path: Path, text: str) -> str:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return str(path)


def test_mailto(tmp_path: Path) -> None:
    sendmail = program(tmp_path / "sendmail", "import sys\n"
                       f"open({str(tmp_path / 'words')!r}, 'w').write(repr(sys.argv[1:]))\n"
                       f"open({str(tmp_path / 'mail')!r}, 'wb').write(sys.stdin.buffer.read())\n")
    event = Event("ann\u00fc", "INBOX.x", 5, about={"subject": "x"})
    tell("mailto", event=event, SENDMAIL=sendmail, NOTIFYD_MAILTO="ops@example.org", NOTIFYD_FIELDS="subject")
    assert (tmp_path / "words").read_text() == repr(["-oi", "-f", "<>", "--", "ops@example.org"])
    message = message_from_bytes((tmp_path / "mail").read_bytes())
    assert (message["To"], message["Auto-Submitted"]) == ("ops@example.org", "auto-generated")
    assert event.ident in message["Message-ID"] and message["X-Courierpy-Notification"] == "yes"
    assert "subject: x" in message.get_payload(decode=True).decode()  # type: ignore[union-attr]
    for wrong in ("", "-x", "a b", "a@b,c@d", "x\n"):
        with pytest.raises(Refused):
            tell("mailto", SENDMAIL=sendmail, NOTIFYD_MAILTO=wrong)


def test_external(tmp_path: Path) -> None:
    words = program(tmp_path / "told", "import sys\n"
                    f"open({str(tmp_path / 'said')!r}, 'a').write(sys.argv[1] + sys.stdin.read())\n"
                    "sys.exit(int(sys.argv[1]))\n")
    tell("external", NOTIFYD_EXTERNAL=f"{words} 0")
    said = (tmp_path / "said").read_text()
    assert said[:1] == "0" and json.loads(said[1:])["user"] == "ann" and "subject" not in said
    with pytest.raises(Later, match="exit status 3"):
        tell("external", NOTIFYD_EXTERNAL=f"{words} 3")
    with pytest.raises(Later, match="No such file"):
        tell("external", NOTIFYD_EXTERNAL=str(tmp_path / "none"))
    with pytest.raises(Refused):
        tell("external", NOTIFYD_EXTERNAL=" ")
