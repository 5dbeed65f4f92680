"""couriertcpd alone, with small programs of the system behind it."""
from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.resolver
import dns.rrset
import pytest

from courierpy.listener import access, dnslists
from tests.conftest import free_port, plain_environ, until, wait_for
from tests.programs.chain import eventually

pytestmark = pytest.mark.server

TCPD = [sys.executable, "-m", "courierpy.tcpd"]


class Tcpd:
    """A running listener; ``say`` opens a connection and gives all that comes back."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.port = port
        self.process = process
        self._log = log

    def connect(self, source: str = "127.0.0.1", target: str = "127.0.0.1") -> socket.socket:
        client = socket.create_connection((target, self.port), 20, (source, 0))
        client.settimeout(20)
        return client

    def say(self, data: bytes = b"", source: str = "127.0.0.1", target: str = "127.0.0.1") -> bytes:
        with self.connect(source, target) as client:
            if data:
                client.sendall(data)
            return until(client, b"never")

    def variables(self, data: bytes = b"", **where: str) -> dict[str, str]:
        """What /usr/bin/env printed."""
        return dict(line.partition("=")[::2] for line in self.say(data, **where).decode().splitlines())

    def logged(self, text: str) -> bool:
        return text in self._log.read_text()

    def wait_log(self, text: str) -> str:
        eventually(lambda: self.logged(text), f"never logged: {text}\n{self._log.read_text()}")
        return self._log.read_text()


Start = Callable[..., Tcpd]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(options, program, ...) -> Tcpd on a free port."""
    running: list[subprocess.Popen[bytes]] = []

    def run(options: list[str], *program: str, address: str = "127.0.0.1", **environ: str) -> Tcpd:
        port = free_port()
        log = tmp_path / f"log{len(running)}"
        with log.open("wb") as stderr:
            process = subprocess.Popen([*TCPD, f"-address={address}", "-nodnslookup", *options, str(port),
                                        *program], stderr=stderr, env=plain_environ(**environ), cwd="/")
        running.append(process)
        if address == "127.0.0.1":
            wait_for(port, process, log)
        return Tcpd(port, process, log)

    yield run
    for process in running:
        process.terminate()
        process.wait(20)


def once(*words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*TCPD, *words], capture_output=True, env=plain_environ(**environ), timeout=30,
                          check=False)


def test_the_program_hears_who_came(start: Start) -> None:
    tcpd = start(["-noidentlookup", "-proxy", "-listen=5"], "/usr/bin/env")
    found = tcpd.variables()
    assert found["TCPREMOTEIP"] == "::ffff:127.0.0.1" == found["TCPLOCALIP"]
    assert found["TCPLOCALPORT"] == str(tcpd.port)
    assert found["TCPREMOTEPORT"].isdigit()
    assert "TCPREMOTEHOST" not in found


def test_names_of_addresses(start: Start) -> None:
    port = free_port()
    process = subprocess.Popen([*TCPD, "-address=127.0.0.1", str(port), "/usr/bin/env"], env=plain_environ())
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", port), 20) as client:
                    text = until(client, b"never").decode()
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        found = dict(line.partition("=")[::2] for line in text.splitlines())
        assert found.get("TCPREMOTEHOST") == found.get("TCPLOCALHOST")
        assert found.get("TCPREMOTEHOST") in (socket.gethostbyaddr("127.0.0.1")[0], "softdnserr")
    finally:
        process.terminate()
        process.wait(20)


def test_access_rules(start: Start, tmp_path: Path) -> None:
    rules = tmp_path / "access"
    rules.write_text("# comment\n\n127.0.0.1\tallow,FOO=bar baz,BAZ,QUOTED=\"a,b\"\n127.0.1\tdeny\n")
    tcpd = start([f"-access={rules}", "-denymsg=go away"], "/usr/bin/env")
    found = tcpd.variables()
    assert (found["FOO"], found["BAZ"], found["QUOTED"]) == ("bar baz", "", "a,b")
    assert tcpd.say(source="127.0.1.7") == b"go away\n"
    assert "FOO" not in tcpd.variables(source="127.0.0.9")
    # read again on SIGHUP; a broken file changes nothing
    rules.write_text("127.0.0.9\tdeny\n")
    tcpd.process.send_signal(signal.SIGHUP)
    tcpd.wait_log("]: settings read again")
    assert tcpd.say(source="127.0.0.9") == b"go away\n"
    rules.write_text("127.0.0.9\n")
    tcpd.process.send_signal(signal.SIGHUP)
    assert f"{rules}:1: KEY and ACTION are expected" in tcpd.wait_log("the settings in force stay")
    assert tcpd.say(source="127.0.0.9") == b"go away\n"


def test_access_of_the_local_address(start: Start, tmp_path: Path) -> None:
    rules = tmp_path / "access"
    tcpd = start([], "/usr/bin/env")
    rules.write_text(f"127.0.0.1\tallow\n127.0.0.4\tdeny\n*.{tcpd.port}\tallow\n")
    tcpd = start([f"-access={rules}", "-accesslocal", "-denymsg=no"], "/usr/bin/env", address="0")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            assert tcpd.variables()["TCPLOCALIP"] == "::ffff:127.0.0.1"
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    assert tcpd.say(target="127.0.0.4") == b""          # silently


def test_access_database(tmp_path: Path) -> None:
    gnu = pytest.importorskip("dbm.gnu", reason="this Python was built without gdbm")
    with gnu.open(str(tmp_path / "imapaccess.dat"), "n") as database:
        database["10.1"] = "deny"
        database["*"] = "allow,X=1"
    rules = access.load(str(tmp_path / "imapaccess.dat"))
    assert access.decide(rules, "::ffff:10.1.2.3") == (False, {})
    assert access.decide(rules, "10.2.2.3") == (True, {"X": "1"})


def test_access_networks_and_ipv6(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "one").write_text("10.16.0.0/15\tdeny\n:2001:0db8\tdeny\n")
    (tmp_path / "rules" / "two~").write_text("nonsense\n")
    rules = access.load(str(tmp_path / "rules"))
    for address, allowed in (("10.16.1.1", False), ("10.17.1.1", False), ("10.18.1.1", True),
                             ("2001:db8::1", False), ("2001:db9::1", True)):
        assert access.decide(rules, address)[0] is allowed
    with pytest.raises(access.AccessError, match="absent"):
        access.load(str(tmp_path / "absent"))


def test_limit_of_an_address(start: Start, tmp_path: Path) -> None:
    rules = tmp_path / "access"
    rules.write_text("127.0.0.3\tallow,MAXCPERIP=1\n")
    tcpd = start(["-maxperip=2", f"-access={rules}"], "/bin/cat")
    first, second = tcpd.connect(), tcpd.connect()
    for client in (first, second):
        client.sendall(b"here\n")
        assert until(client, b"\n") == b"here\n"
    assert tcpd.say() == b""
    tcpd.wait_log("ALERT: Maximum connection limit reached for ::ffff:127.0.0.1")
    third = tcpd.connect("127.0.0.3")
    third.sendall(b"x\n")
    assert until(third, b"\n") == b"x\n"
    assert tcpd.say(source="127.0.0.3") == b""


def test_limit_of_a_network(start: Start) -> None:
    tcpd = start(["-maxperc=2"], "/bin/cat")
    clients = [tcpd.connect(source) for source in ("127.0.0.1", "127.0.0.2")]
    for client in clients:
        client.sendall(b"x\n")
        assert until(client, b"\n") == b"x\n"
    assert tcpd.say(source="127.0.0.3") == b""
    with tcpd.connect("127.0.1.3") as other:
        other.sendall(b"y\n")
        assert until(other, b"\n") == b"y\n"


def test_limit_of_all(start: Start) -> None:
    tcpd = start(["-maxprocs=2", "-warn=1"], "/bin/cat")
    first, second = tcpd.connect(), tcpd.connect()
    for client in (first, second):
        client.sendall(b"x\n")
        until(client, b"\n")
    assert "WARN: 1 active connections." in tcpd.wait_log("ALERT: 2 maximum active connections.")
    third = tcpd.connect()
    third.sendall(b"third\n")
    third.settimeout(0.3)
    with pytest.raises(TimeoutError):
        third.recv(1)
    first.close()
    third.settimeout(20)
    assert until(third, b"\n") == b"third\n"


def test_proxy_header(start: Start) -> None:
    tcpd = start(["-haproxy=2"], "/usr/bin/env")
    found = tcpd.variables(b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 143\r\n")
    assert (found["TCPREMOTEIP"], found["TCPREMOTEPORT"]) == ("::ffff:192.0.2.7", "5555")
    assert (found["TCPLOCALIP"], found["TCPLOCALPORT"]) == ("::ffff:192.0.2.1", "143")
    assert found["TCPREMOTEINFO"] == f"proxy via ::ffff:127.0.0.1, port {tcpd.port}"
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    six = socket.inet_pton(socket.AF_INET6, "2001:db8::7"), socket.inet_pton(socket.AF_INET6, "::1")
    header = signature + struct.pack("!BBH", 0x21, 0x21, 36) + six[0] + six[1] + struct.pack("!HH", 77, 993)
    found = tcpd.variables(header)
    assert (found["TCPREMOTEIP"], found["TCPREMOTEPORT"]) == ("2001:db8::7", "77")
    for family in (0, 0x41):           # which is ignored where the proxy speaks for itself
        local = tcpd.variables(signature + struct.pack("!BBH", 0x20, family, 0))
        assert local["TCPREMOTEIP"] == "::ffff:127.0.0.1"
    found = tcpd.variables(b"PROXY TCP6 ::FFFF:C000:0207 2001:0DB8:0:0:0:0:0:1 5555 143\r\n")
    assert (found["TCPREMOTEIP"], found["TCPLOCALIP"]) == ("::ffff:192.0.2.7", "2001:db8::1")
    ends = b"192.0.2.7 192.0.2.1 5555 143"
    for bad in (b"GET / HTTP/1.0\r\n\r\n", b"PROXY TCP4 nonsense\r\n", b"PROXY " + b"x" * 200,
                b"PROXY TCP4 %s\na NOOP\r\n" % ends, b"PROXY  TCP4 %s\r\n" % ends,
                b"PROXY TCP4 %s 1\r\n" % ends, signature + struct.pack("!BBH", 0x22, 0x11, 12) + bytes(12),
                signature + struct.pack("!BBH", 0x21, 0x41, 0),
                signature + struct.pack("!BBH", 0x21, 0x13, 0),
                signature + struct.pack("!BBH", 0x31, 0x11, 0),
                signature + struct.pack("!BBH", 0x21, 0x11, 2) + b"xx"):
        assert tcpd.say(bad) == b""
    tcpd.wait_log("no PROXY header")
    with tcpd.connect() as silent:
        assert until(silent, b"never") == b""
    tcpd.wait_log("did not come in time")


def test_dropped_by_variable(start: Start, tmp_path: Path) -> None:
    rules = tmp_path / "access"
    rules.write_text("127.0.0.5\tallow,BLOCK=listed\n")
    tcpd = start([f"-access={rules}", "-drop", "-denymsg=blocked"], "/usr/bin/env")
    assert tcpd.say(source="127.0.0.5") == b"blocked\n"
    tcpd.wait_log("WARN: dropped blocked connection from ::ffff:127.0.0.5")
    assert "TCPREMOTEIP" in tcpd.variables()


def test_dns_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a name server on loopback."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    zone = {("2.0.0.10.bl.test.", "A"): "127.0.0.2", ("2.0.0.10.bl.test.", "TXT"): '"seen sending spam"',
            ("2.0.0.10.good.test.", "A"): "127.0.0.3"}

    def serve() -> None:
        while True:
            data, peer = server.recvfrom(4096)
            if data == b"end":
                return
            query = dns.message.from_wire(data)
            question = query.question[0]
            kind = dns.rdatatype.to_text(question.rdtype)
            reply = dns.message.make_response(query)
            value = zone.get((str(question.name), kind))
            if value:
                reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, value))
            else:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            server.sendto(reply.to_wire(), peer)

    thread = threading.Thread(target=serve)
    thread.start()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = server.getsockname()[1]
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    try:
        for text, allow, wanted in (
                ("bl.test", False, {"BLOCK": "Blacklisted by bl.test", "BLOCK_ZONE": "bl.test"}),
                ("bl.test=shown,LIST,no @ here", False,
                 {"LIST": "no ::ffff:10.0.0.2 here", "LIST_ZONE": "shown"}),
                ("bl.test,BLOCK,*", False, {"BLOCK": "seen sending spam", "BLOCK_TXT": "seen sending spam"}),
                ("bl.test,BLOCK/127.0.0.2", False, {"BLOCK_IP": "127.0.0.2"}),
                ("good.test", True, {"BLOCK": "", "ALLOW_0": "BLOCK"})):
            environ: dict[str, str] = {}
            dnslists.apply([dnslists.DnsList(text, allow)], "::ffff:10.0.0.2", environ)
            assert wanted.items() <= environ.items()
        for text in ("bl.test,BLOCK/127.0.0.9", "other.test"):
            environ = {}
            dnslists.apply([dnslists.DnsList(text, False)], "10.0.0.2", environ)
            assert environ == {}
        environ = {"BLOCK": "already"}
        dnslists.apply([dnslists.DnsList("bl.test", False)], "10.0.0.2", environ)
        assert environ == {"BLOCK": "already"}
    finally:
        server.sendto(b"end", server.getsockname())
        thread.join()
        server.close()
    assert dnslists.query_name("2001:db8::1", "z") == "1." + "0." * 23 + "8.b.d.0.1.0.0.2.z"


def test_sockets_of_systemd() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        fd = listener.fileno()
        command = f"LISTEN_PID=$$ LISTEN_FDS=1 exec {' '.join(TCPD)} -nodnslookup 0 /usr/bin/env"
        process = subprocess.Popen(["/bin/sh", "-c", command], env=plain_environ(), close_fds=False,
                                   preexec_fn=lambda: os.dup2(fd, 3))  # noqa: PLW1509
        try:
            with socket.create_connection(listener.getsockname(), 20) as client:
                assert b"TCPREMOTEIP=::ffff:127.0.0.1" in until(client, b"never")
        finally:
            process.terminate()
            process.wait(20)


def test_daemon(tmp_path: Path) -> None:
    pid, log, port = tmp_path / "pid", tmp_path / "log", free_port()
    words = [f"-pid={pid}", f"-stderr={log}", "-address=127.0.0.1", "-nodnslookup", str(port), "/usr/bin/env"]
    assert once(*words).returncode == 0
    eventually(lambda: pid.exists() and pid.read_text().endswith("\n"), "it says no pid")
    number = int(pid.read_text())
    assert number != os.getpid()
    assert pid.read_text() == f"{number}\n"
    assert once(f"-pid={pid}", "-restart").returncode == 0
    eventually(lambda: "]: settings read again" in log.read_text(), "not read")
    assert once(f"-pid={pid}", "-stop").returncode == 0
    assert not pid.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 20)
    assert once(f"-pid={pid}", "-restart").returncode == 1


def test_logger(start: Start, tmp_path: Path) -> None:
    found, script = tmp_path / "found", tmp_path / "logger"
    script.write_text(f"#!/bin/sh\necho \"name=$1\" >> {found}\nexec cat >> {found}\n")
    script.chmod(0o755)
    tcpd = start([f"-stderrlogger={script}", "-stderrloggername=imapd", "-maxperip=1"], "/bin/cat")
    with tcpd.connect() as client:
        client.sendall(b"x\n")
        until(client, b"\n")
        assert tcpd.say() == b""
    eventually(lambda: found.exists() and "ALERT: Maximum connection limit reached" in found.read_text())
    assert found.read_text().startswith("name=imapd\n")


def test_errors_of_a_program_on_the_socket(start: Start) -> None:
    tcpd = start(["-stderr=socket"], "/bin/sh", "-c", "echo complaint >&2")
    assert tcpd.say() == b"complaint\n"


def test_ids_of_the_listener(start: Start) -> None:
    if os.getuid():
        pytest.skip("not root: cannot become anybody else")
    tcpd = start(["-user=nobody", "-group=nogroup"], "/usr/bin/id", "-un")
    assert tcpd.say() == b"nobody\n"


def test_crashing_programs_are_throttled(start: Start) -> None:
    tcpd = start(["-maxperip=100"], "/bin/sh", "-c", "kill -9 $$")

    def paused() -> bool:
        assert tcpd.say() == b""
        return tcpd.logged("ALERT: connections die at once; accepting pauses for 1 s")
    eventually(paused)                 # twenty in a row, none of which lived for a second on a busy machine
    assert tcpd.say() == b""                            # and goes on


def test_a_program_that_is_not_there_any_more(start: Start, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    tcpd = start([], str(program))
    program.unlink()
    assert tcpd.say() == b""
    tcpd.wait_log(f"CRIT: {program}: No such file or directory")


def test_ipv6(start: Start) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    tcpd = start([], "/usr/bin/env", address="::1")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            found = tcpd.variables(source="::1", target="::1")
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    assert found["TCPREMOTEIP"] == "::1"


def test_complaints() -> None:
    assert b"Invalid option: -bogus" in once("-bogus", "143", "x").stderr
    assert b"Invalid option: -maxprocs=0" in once("-maxprocs=0", "143", "x").stderr
    assert b"Usage:" in once("143").stderr
    assert b"bad port: '99999'; one from 1 to 65535" in once("99999", "/bin/cat").stderr
    assert b"no such service: nonsense; a port" in once("nonsense", "/bin/cat").stderr
    assert b"-pid=FILE is needed" in once("-stop").stderr
    assert b"-user=no-such-1: there is no such user; a name" in once("-user=no-such-1", "143", "x").stderr
    assert b"-group=no-such-1: there is no such group" in once("-group=no-such-1", "143", "x").stderr
    assert b"/no/rules: No such file or directory; a file" in once("-access=/no/rules", "-address=127.0.0.1",
                                                                          str(free_port()), "/bin/cat").stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = once("-address=127.0.0.1", str(port), "/bin/cat")
    assert done.returncode == 1
    assert done.stderr == (f"CRIT: cannot listen on 127.0.0.1 port {port}: Address already in use; end the "
                           "program that listens there, or take another port\n").encode()
    done = once("-tls", "-address=127.0.0.1", str(free_port()), "/bin/cat", TLS_CERTFILE="/no/imapd.pem")
    assert (done.returncode, done.stderr) == (
        1, b"CRIT: /no/imapd.pem: No such file or directory; a certificate was expected there, courierpy "
        b"mkcert /no/imapd.pem makes one\n")


def test_replies_are_not_delayed(start: Start) -> None:
    """TCP_NODELAY: a small reply does not wait for the acknowledgement of the one before."""
    program = ("import socket; s = socket.socket(fileno=0);"
               "print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), flush=True)")
    assert int(start([], sys.executable, "-c", program).say()) != 0
