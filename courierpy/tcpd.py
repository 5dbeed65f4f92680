"""couriertcpd: listen, limit, say who came in TCP* variables, start the login.

``couriertcpd [options] PORTS program [arguments...]``, options as Courier's.
When the program is our own imaplogin the connection's process is a fork that
goes on in it: imports are done once, before; ``-exec`` forces an exec.
"""
from __future__ import annotations

import os
import select
import signal
import socket
import time

from courierpy import log
from courierpy.capability import starttls_offered
from courierpy.conn import Conn
from courierpy.listener import access, pidfile
from courierpy.proc import ProcError, execute, is_ours
from courierpy.settings import SettingsError, from_environ
from courierpy.tls import TlsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from courierpy.auth.helper import Helpers
    from courierpy.listener.dnslists import DnsList

    Reread = Callable[[], tuple[list[str], Mapping[str, str]]]

USAGE = "Usage: couriertcpd [options] PORTS program [arguments...]"
WARN_EVERY = 60.0
HASTY = 0.1                    # a child that lives less than this and crashes was hasty
HASTY_ALLOWED = 20             # so many in a row, then accepting pauses
PAUSE = 1.0
CRASHED = 70                   # exit status of a process that could not do its work (EX_SOFTWARE)
TLS_TIMEOUT = 30.0

# traceback: a bug of ours is logged even where our files cannot be read
PRELOADED = ("courierpy.auth.authdaemon", "courierpy.auth.sasl", "courierpy.imapd", "courierpy.imaplogin",
             "courierpy.maildir.folders", "courierpy.message", "courierpy.tls", "datetime", "html",
             "traceback", "unicodedata", "ctypes.util", "pyinotify", "encodings.ascii",
             "encodings.cp1252", "encodings.iso8859_15", "encodings.latin_1",
             "encodings.utf_16_be", "encodings.utf_8")

# A client that is gone without a word is noticed within five minutes: probes when all is
# quiet, and an end to waiting for its acknowledgements (milliseconds).
ALIVE = ((socket.TCP_KEEPIDLE, 180), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 4),
         (socket.TCP_USER_TIMEOUT, 300_000))

TEXT_OPTIONS = {"access", "address", "denymsg", "group", "user", "pid", "stderr", "stderrlogger",
                "stderrloggername"}
NUMBER_OPTIONS = {"listen", "maxprocs", "maxperip", "maxperc", "warn"}
SWITCHES = {"accesslocal", "nodnslookup", "noidentlookup", "proxy", "restart", "stop", "exec", "tls"}


class UsageError(Exception):
    """A word of the command line; str() is the complaint."""


class Options:
    """The command line taken apart."""

    def __init__(self, words: list[str]) -> None:
        self.text: dict[str, str] = {}
        self.number: dict[str, int] = {}
        self.switches: set[str] = set()
        self.lists: list[DnsList] = []
        self.drop: list[str] = []
        self.haproxy: tuple[float, frozenset[str]] | None = None
        rest = list(words)
        while rest and rest[0].startswith("-"):
            word = rest.pop(0)
            if word == "-":
                break
            self._option(word)
        self.rest = rest

    def _option(self, word: str) -> None:
        name, equals, value = word[1:].partition("=")
        if name in TEXT_OPTIONS and equals:
            self.text[name] = value
        elif name in NUMBER_OPTIONS and value.isdigit() and int(value) > 0:
            self.number[name] = int(value)
        elif name in SWITCHES and not equals:
            self.switches.add(name)
        elif name in ("block", "allow") and value:
            from courierpy.listener.dnslists import DnsList
            self.lists.append(DnsList(value, name == "allow"))
        elif name == "drop":
            self.drop = value.split(",") if value else ["BLOCK"]
        elif name == "haproxy":
            timeout, _, ports = value.partition("/")
            ports = ports.removeprefix("port=")
            self.haproxy = (float(timeout or 15), frozenset(filter(None, ports.split(","))))
        else:
            raise UsageError(f"Invalid option: {word}")


def parse_ports(text: str, default: str | None) -> list[tuple[str, int]]:
    """``143,127.0.0.1.993`` -> (address or "", port).  Raises UsageError."""
    found = []
    for part in text.split(","):
        address, _, port = part.strip().rpartition(".")
        address = address or default or ""
        try:
            number = int(port) if port.isdigit() else socket.getservbyname(port, "tcp")
        except OSError:
            raise UsageError(f"no such service: {port}") from None
        if not 0 < number < 65536:
            raise UsageError(f"bad port: {port}")
        found.append(("" if address == "0" else address, number))
    return found


def listen_on(address: str, port: int) -> list[socket.socket]:
    """Sockets for one entry of the port list; the wildcard is both families.  OSError."""
    if address:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [_bound(family, address, port, v6only=family == socket.AF_INET6)]
    try:
        return [_bound(socket.AF_INET6, "::", port, v6only=False)]
    except OSError as error:
        import errno
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise
        return [_bound(socket.AF_INET, "0.0.0.0", port, v6only=False)]


def _bound(family: int, address: str, port: int, v6only: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
        sock.bind((address, port))
        sock.listen(socket.SOMAXCONN)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def inherited() -> list[socket.socket]:
    """Sockets that systemd opened for us (LISTEN_FDS)."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    sockets = [socket.socket(fileno=fd) for fd in range(3, 3 + count)]
    for sock in sockets:
        sock.setblocking(False)
        os.set_inheritable(sock.fileno(), False)
    return sockets


def shown(address: str) -> str:
    """An address as Courier shows it: IPv4 mapped into IPv6."""
    return address if ":" in address else f"::ffff:{address}"


def run() -> None:
    """The ``couriertcpd`` command."""
    import sys
    sys.exit(main(sys.argv, os.environ))


def main(argv: list[str], environ: Mapping[str, str], conn: Conn | None = None,
         reread: Reread | None = None) -> int:
    """``reread``: gives command line and environment anew, at SIGHUP; raises SettingsError."""
    try:
        options = Options(argv[1:])
        if options.switches & {"stop", "restart"}:
            path = options.text.get("pid")
            if not path:
                raise UsageError("-pid=FILE is needed")
            return pidfile.stop(path) if "stop" in options.switches else pidfile.restart(path)
        if len(options.rest) < 2:
            raise UsageError(USAGE)
        return Listener(options, environ, reread).run()
    except (UsageError, access.AccessError) as error:
        os.write(2, f"{argv[0]}: {error}\n".encode())
        return 1


class Listener:
    """``children``: pid -> (address, time of its start)."""

    def __init__(self, options: Options, environ: Mapping[str, str], reread: Reread | None = None) -> None:
        self.reread = reread
        self.children: dict[int, tuple[str, float]] = {}
        self.logger = 0                # pid of -stderrlogger
        self.helpers: Helpers | None = None
        self.rules: dict[str, str] = {}
        self.sockets: list[socket.socket] = []
        self.hasty = 0
        self.paused_until = 0.0
        self.stopping = self.reload = False
        self.last_warning: dict[str, float] = {}
        self._take(options, environ)
        self.in_process = is_ours(self.program) and "exec" not in options.switches

    def _take(self, options: Options, environ: Mapping[str, str]) -> None:
        self.options = options
        self.environ = dict(environ)
        self.program, self.arguments = options.rest[1], options.rest[2:]
        self.maxprocs = options.number.get("maxprocs", 40)
        self.maxperip = options.number.get("maxperip", 4)
        self.maxperc = options.number.get("maxperc", self.maxprocs)
        self.warn_at = options.number.get("warn", self.maxprocs - (self.maxprocs // 10 + 1))

    # -- start

    def run(self) -> int:
        if not self._listen():
            return 1
        self.rules = self._rules(self.options)
        try:
            self._certificates(self.options, self.environ)
        except TlsError as error:
            log.crit(str(error))
            return 1
        lock = None
        path = self.options.text.get("pid")
        if path:
            pidfile.daemonize()
            lock = pidfile.lock(path)
            if lock is None:
                return 0                 # it runs already: that is what was wanted
            pidfile.write(path)
        self._stderr()
        wake_in, wake_out = os.pipe()
        for fd in (wake_in, wake_out):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        try:
            os.setpgid(0, 0)
        except OSError:
            pass                         # a session leader is one already
        if self.in_process:
            preload()
        self._start_helpers()
        self._drop_privileges()
        self._loop(wake_in)
        for pid in self.children:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        self._wait_for(set(self.children) | (self.helpers.stop() if self.helpers is not None else set()))
        if path and lock is not None:
            os.unlink(path)
        return 0

    def _listen(self) -> bool:
        self.sockets = inherited()
        if self.sockets:
            return True
        for address, port in parse_ports(self.options.rest[0], self.options.text.get("address")):
            try:
                self.sockets += listen_on(address, port)
            except OSError as error:
                log.crit(f"cannot listen on {address or '*'} port {port}: {error.strerror}")
                return False
        return True

    @staticmethod
    def _rules(options: Options) -> dict[str, str]:
        path = options.text.get("access")
        return access.load(path) if path else {}

    def _certificates(self, options: Options, environ: Mapping[str, str]) -> None:
        """Loaded here, once, for every connection's process.  TlsError."""
        settings = from_environ(environ)
        if "tls" in options.switches or (self.in_process and starttls_offered(settings, False)):
            from courierpy import tls
            tls.load(settings)

    def _stderr(self) -> None:
        path = self.options.text.get("stderr")
        if path and path != "socket":
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o660)
            os.dup2(fd, 2)
            os.close(fd)
        logger = self.options.text.get("stderrlogger")
        if logger:
            name = self.options.text.get("stderrloggername") or os.path.basename(self.program)
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.dup2(reader, 0)
                os.closerange(3, 256)
                try:
                    os.execvp(logger, [logger, name])
                finally:
                    os._exit(1)
            self.logger = pid
            os.dup2(writer, 2)
            os.close(reader)
            os.close(writer)

    def _start_helpers(self) -> None:
        """Passwords are checked by processes of their own, started once."""
        modules = self._auth_modules()
        if modules:
            from courierpy.auth.helper import Helpers
            self.helpers = Helpers(modules, self.environ)
            self.helpers.tend()

    def _auth_modules(self) -> list[str]:
        """The modules for the helpers; none when imaplogin asks somebody else, or is not ours."""
        if not self.in_process or os.path.basename(self.program) != "imaplogin":
            return []
        words = [word for word in self.arguments if word.startswith("auth") and "/" not in word]
        modules = words or from_environ(self.environ).text("AUTHMODULES").split()
        if modules == ["authdaemon"]:
            return []
        self.arguments = self.arguments[len(words):]
        return modules

    def _drop_privileges(self) -> None:
        import grp
        import pwd
        group, user = self.options.text.get("group"), self.options.text.get("user")
        if group:
            os.setgid(int(group) if group.isdigit() else grp.getgrnam(group).gr_gid)
        if user:
            os.setuid(int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid)

    def _on_signal(self, number: int, frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.stopping = True
        elif number == signal.SIGHUP:
            self.reload = True

    # -- the loop

    def _loop(self, wake: int) -> None:
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        by_fd = {sock.fileno(): sock for sock in self.sockets}
        listening = False
        while not self.stopping:
            wanted = len(self.children) < self.maxprocs and time.monotonic() >= self.paused_until
            if wanted != listening:
                for fd in by_fd:
                    if wanted:
                        poll.register(fd, select.POLLIN)
                    else:
                        poll.unregister(fd)
                listening = wanted
            for fd, _ in poll.poll(1000):
                if fd == wake:
                    while True:
                        try:
                            if not os.read(wake, 512):
                                break
                        except BlockingIOError:
                            break
                elif len(self.children) < self.maxprocs:
                    self._accept(by_fd[fd])
            self._reap()
            if self.helpers is not None:
                self.helpers.tend()
            if self.reload:
                self.reload = False
                self._reload()

    def _reload(self) -> None:
        """New rules, certificates and settings, if all are sound; else all the old ones stay."""
        options, environ = self.options, self.environ
        try:
            if self.reread is not None:
                words, values = self.reread()
                options, environ = Options(words[1:]), dict(values)
            rules = self._rules(options)
            self._certificates(options, environ)
        except (SettingsError, UsageError, access.AccessError, TlsError) as error:
            log.err(f"{error}; the settings in force stay")
            return
        self.rules = rules
        self._take(options, environ)
        modules = self._auth_modules()
        if self.helpers is not None and modules:
            self.helpers.renew(modules, self.environ)
        log.info("settings read again")

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        client.setblocking(True)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option, value in ALIVE:
            client.setsockopt(socket.IPPROTO_TCP, option, value)
        try:
            address = shown(client.getpeername()[0])
        except OSError:
            client.close()
            return
        pid = os.fork()
        if pid == 0:
            status = CRASHED
            try:
                status = self._child(client)
            except BaseException as error:  # the child must never return into the loop
                log.crit(f"connection from {address}: {type(error).__name__}: {error}")
            finally:
                os._exit(status)
        client.close()
        self.children[pid] = (address, time.monotonic())
        self._warn()

    def _warn(self) -> None:
        count = len(self.children)
        if count >= self.maxprocs:
            self._seldom("max", lambda: log.alert(f"{self.maxprocs} maximum active connections."))
        elif count >= self.warn_at:
            self._seldom("warn", lambda: log.warn(f"{count} active connections."))

    def _seldom(self, key: str, say: object) -> None:
        now = time.monotonic()
        if now - self.last_warning.get(key, -WARN_EVERY) >= WARN_EVERY:
            self.last_warning[key] = now
            say()  # type: ignore[operator]

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            started = self.children.pop(pid, None)
            if started is not None:
                self._was_hasty(status, time.monotonic() - started[1])
            elif pid == self.logger:
                log.crit("the logger ended")
            elif self.helpers is not None:
                self.helpers.ended(pid)

    def _was_hasty(self, status: int, lived: float) -> None:
        """Processes that crash as soon as they start are not started ever faster."""
        crashed = os.WIFSIGNALED(status) or os.WEXITSTATUS(status) >= CRASHED
        self.hasty = self.hasty + 1 if crashed and lived < HASTY else 0
        if self.hasty >= HASTY_ALLOWED:
            self.hasty = 0
            self.paused_until = time.monotonic() + PAUSE
            log.alert(f"connections die at once; accepting pauses for {PAUSE:.0f} s")

    @staticmethod
    def _wait_for(pids: set[int]) -> None:
        end = time.monotonic() + 8
        while pids and time.monotonic() < end:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid:
                pids.discard(pid)
            else:
                time.sleep(0.02)

    # -- in the connection's process

    def _child(self, client: socket.socket) -> int:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for sock in self.sockets:
            sock.close()
        environ = self.environ
        if self.helpers is not None:
            self.helpers.close()
            environ["COURIERPY_AUTHSOCKET"] = self.helpers.path
        remote, local = client.getpeername()[:2], client.getsockname()[:2]
        via = ""
        if self.options.haproxy is not None:
            remote, local, via = self._behind_proxy(client, remote, local)
        address = shown(remote[0])
        environ.update(TCPREMOTEIP=address, TCPREMOTEPORT=str(remote[1]),
                       TCPLOCALIP=shown(local[0]), TCPLOCALPORT=str(local[1]))
        if via:
            environ["TCPREMOTEINFO"] = via
        if not self._admitted(client, address, environ):
            return 0
        if "nodnslookup" not in self.options.switches:
            _names(environ)
        return self._serve(client, environ)

    def _behind_proxy(self, client: socket.socket, remote: tuple[str, int],
                      local: tuple[str, int]) -> tuple[tuple[str, int], tuple[str, int], str]:
        from courierpy.listener import haproxy
        assert self.options.haproxy is not None
        timeout, ports = self.options.haproxy
        if ports and str(local[1]) not in ports and f"{local[0]}.{local[1]}" not in ports:
            return remote, local, ""
        try:
            ends = haproxy.read_header(client, timeout)
        except haproxy.ProxyError as error:
            log.warn(f"{shown(remote[0])}: {error}")
            os._exit(0)
        if ends is None:
            return remote, local, ""
        return ends.remote, ends.local, f"proxy via {shown(local[0])}, port {local[1]}"

    def _admitted(self, client: socket.socket, address: str, environ: dict[str, str]) -> bool:
        options = self.options
        if "accesslocal" in options.switches:
            allowed, _ = access.decide(self.rules, environ["TCPLOCALIP"], environ["TCPLOCALPORT"])
            if not allowed:
                return False
        allowed, variables = access.decide(self.rules, address)
        if not allowed:
            self._deny(client)
            return False
        environ.update(variables)
        same = sum(1 for other, _ in self.children.values() if other == address)
        limit = environ.get("MAXCPERIP", "")
        if same >= (int(limit) if limit.isdigit() else self.maxperip):
            log.alert(f"Maximum connection limit reached for {address}")
            return False
        block = _c_block(address)
        if sum(1 for other, _ in self.children.values() if _c_block(other) == block) >= self.maxperc:
            return False
        if options.lists:
            from courierpy.listener import dnslists
            dnslists.apply(options.lists, address, environ)
        if any(environ.get(name) for name in options.drop):
            log.warn(f"dropped blocked connection from {address}")
            self._deny(client)
            return False
        return True

    def _deny(self, client: socket.socket) -> None:
        text = self.options.text.get("denymsg")
        if text:
            try:
                client.sendall(text.encode() + b"\n")
            except OSError:
                pass

    def _serve(self, client: socket.socket, environ: dict[str, str]) -> int:
        fd = client.detach()
        os.dup2(fd, 0)
        os.dup2(fd, 1)
        os.close(fd)
        if self.options.text.get("stderr") == "socket":
            os.dup2(1, 2)
        conn = Conn(0, 1)
        if "tls" in self.options.switches:
            from courierpy import tls
            try:
                context = tls.server_context(from_environ(environ), environ["TCPLOCALIP"])
                environ.update(tls.handshake(conn, context, TLS_TIMEOUT))
            except TlsError as error:
                log.err(f"TLS, ip=[{environ['TCPREMOTEIP']}]: {error}")
                return 1
        if self.in_process:
            environ["COURIERPY_FORK"] = "1"
            from courierpy.imapd import main as imapd
            from courierpy.imaplogin import main as imaplogin
            program = imaplogin if os.path.basename(self.program) == "imaplogin" else imapd
            return program([self.program, *self.arguments], environ, conn)
        try:
            execute(self.program, self.arguments, environ, conn)
        except ProcError as error:
            log.crit(str(error))
        return CRASHED


def _c_block(address: str) -> str:
    """The address without its last octet (IPv6: its last byte)."""
    if "." in address:
        return address.rpartition(".")[0]
    import ipaddress
    return ipaddress.ip_address(address).exploded[:-2]


def _names(environ: dict[str, str]) -> None:
    """Names of both ends, confirmed forward; ``softdnserr`` when that fails."""
    for variable, address in (("TCPREMOTEHOST", environ["TCPREMOTEIP"]),
                              ("TCPLOCALHOST", environ["TCPLOCALIP"])):
        plain = address.removeprefix("::ffff:")
        try:
            name = socket.gethostbyaddr(plain)[0]
        except (socket.herror, socket.gaierror):
            continue
        try:
            found = {entry[4][0] for entry in socket.getaddrinfo(name, None)}
        except socket.gaierror:
            found = set()
        environ[variable] = name if plain in found else "softdnserr"


def preload() -> None:
    """What every connection needs, loaded once; memory that is shared stays shared.

    After the login nothing may have to be loaded: the user need not be able to
    read our files.
    """
    import gc
    import importlib

    from courierpy import commands, ext
    from courierpy.commands.index import COMMANDS
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            if name != "pyinotify":    # without it IDLE looks by the clock
                raise
    for word in COMMANDS:
        commands.find(word)
    for seam in ext.SEAMS:
        for module in ext.keys(seam).values():
            ext.load(module)
    gc.collect()
    gc.freeze()
    gc.disable()


if __name__ == "__main__":
    run()
