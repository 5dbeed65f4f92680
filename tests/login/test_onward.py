"""Which hosts an account's mail is at, and what they are told of the client."""
from __future__ import annotations

import socket

import pytest

from courierpy.auth import Account, Unservable
from courierpy.login import onward, start
from courierpy.system import haproxy
from courierpy.system.settings import Settings


def hosts(options: str, here: str = "front.example.org") -> list[str]:
    return start.elsewhere(Account("joe", 1, 1, "/", options=options), Settings({"PROXY_HOSTNAME": here}))


@pytest.mark.parametrize(("options", "found"), [
    ("", []), ("mailhost=", []), ("x=y", []), ("mailhost=FRONT.example.org", []), ("xmailhost=a", []),
    ("mailhost=a", ["a"]), ("disableshared,mailhost=a:1143,sharedgroup=b", ["a:1143"]),
    ("mailhost=a,b.example.org,[::1]:143,10.0.0.1:99", ["a", "b.example.org", "[::1]:143", "10.0.0.1:99"]),
    ("mailhost=a,disableshared,c.example.org", ["a"]),
    ("mailhost=a,front.example.org,c.example.org", ["a", "c.example.org"]),
    ("mailhost=front.example.org,c.example.org", []), ("mailhost=a,mailhost=b.c", ["a"])])
def test_hosts_of_an_account(options: str, found: list[str]) -> None:
    """A bare word behind mailhost is a host where it looks like one, and not like an option's name."""
    assert hosts(options) == found


def test_the_system_has_a_name_too() -> None:
    assert hosts(f"mailhost={socket.gethostname().upper()}", "") == []


@pytest.mark.parametrize("options", ["mailhost=a b", "mailhost=a/b", "mailhost=a:", "mailhost=[::1"])
def test_no_host(options: str) -> None:
    with pytest.raises(Unservable):
        hosts(options)


@pytest.mark.parametrize(("remote", "local", "found"), [
    (("::ffff:192.0.2.1", "5000"), ("::ffff:192.0.2.2", "143"), (("192.0.2.1", 5000), ("192.0.2.2", 143))),
    (("192.0.2.1", "1"), ("192.0.2.2", "65535"), (("192.0.2.1", 1), ("192.0.2.2", 65535))),
    (("2001:db8::1", "5000"), ("2001:db8::2", "993"), (("2001:db8::1", 5000), ("2001:db8::2", 993))),
    (("2001:db8::1", "5000"), ("192.0.2.2", "993"), (("2001:db8::1", 5000), ("::ffff:192.0.2.2", 993)))])
def test_a_proxy_header_is_read_as_it_was_made(remote: tuple[str, str], local: tuple[str, str],
                                               found: tuple[tuple[str, int], tuple[str, int]]) -> None:
    cut = haproxy.cut(haproxy.header(remote, local) + b"rest")
    assert cut is not None and cut[0] is not None
    assert (cut[0].remote, cut[0].local, cut[1]) == (*found, b"rest")


@pytest.mark.parametrize("remote", [("", ""), ("192.0.2.1", "N/A"), ("192.0.2.1", "70000"), ("x", "1")])
def test_a_client_without_an_address(remote: tuple[str, str]) -> None:
    assert haproxy.cut(haproxy.header(remote, ("192.0.2.2", "143"))) == (None, b"")


def test_addresses() -> None:
    """Of addresses, which need no asking, and of names."""
    assert onward.addresses("192.0.2.1", 143, 5) == [(socket.AF_INET, ("192.0.2.1", 143))]
    assert onward.addresses("2001:db8::1", 143, 5) == [(socket.AF_INET6, ("2001:db8::1", 143))]
    assert ("127.0.0.1", 99) in [address for _, address in onward.addresses("localhost", 99, 30)]
    assert onward.addresses("a..b", 143, 5) == []


def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(name: str, port: int, **more: int) -> list[object]:
        if more["flags"]:
            raise OSError
        import time
        while True:
            time.sleep(60)
    monkeypatch.setattr(onward.socket, "getaddrinfo", hang)    # type: ignore[attr-defined]
    assert onward.addresses("mail2.example.org", 143, 0.05) == []
