"""authpam with the system's PAM and pam_unix, in a mount namespace whose accounts are the test's own."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import account_ids, plain_environ, until
from tests.programs.chain import Chain, chain

pytest.importorskip("pam", reason="python-pam is not installed")
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="to have other accounts in a namespace takes root")
PASSWORD = "sécret"
# days since 1970: last change of the password, then as shadow(5) has them
STATES = {
    "ann": "{hash}:19000:0:99999:7:::",
    "old": "{hash}:19000:0:99999:7::19000:",           # the account's last day
    "due": "{hash}:0:0:99999:7:::",                    # the password must be changed
    "off": "!{hash}:19000:0:99999:7:::",
}
RULES = {
    "imap": "auth required pam_unix.so nodelay\naccount required pam_unix.so\n",
    "login": "auth required pam_deny.so\naccount required pam_deny.so\n",
    "none": "auth required pam_is_not_there.so\naccount required pam_permit.so\n",
    "away": "auth [default=die] pam_debug.so auth=authinfo_unavail\naccount required pam_permit.so\n",
}
# for a process and all that it starts
NAMESPACE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
private, rec, bind, new_namespace = 1 << 18, 16384, 4096, 0x20000
assert libc.unshare(new_namespace) == 0, "unshare"
assert libc.mount(b"none", b"/", None, rec | private, None) == 0, "mount"
for name in ("passwd", "shadow", "pam.d"):
    source, target = os.path.join({folder!r}, name).encode(), b"/etc/" + name.encode()
    assert libc.mount(source, target, None, bind, None) == 0, "mount"
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Python that gives the process which runs it the accounts of STATES and the services of RULES."""
    from passlib.hash import sha512_crypt
    for place in ("/etc/shadow", "/etc/pam.d"):
        if not Path(place).exists():
            pytest.skip(f"{place} is not there")
    folder = tmp_path_factory.mktemp("etc")
    known = sha512_crypt.using(rounds=1000).hash(PASSWORD)
    uid, gid = account_ids()
    users = "".join(f"{user}:x:{uid}:{gid}:{user.title()}:/nowhere/{user}:/bin/sh\n" for user in STATES)
    (folder / "passwd").write_text(Path("/etc/passwd").read_text().rstrip("\n") + "\n" + users)
    (folder / "shadow").write_text(Path("/etc/shadow").read_text().rstrip("\n") + "\n" + "".join(
        f"{user}:{state.format(hash=known)}\n" for user, state in STATES.items()))
    (folder / "shadow").chmod(0o600)
    (folder / "pam.d").mkdir()
    for service, rules in RULES.items():
        (folder / "pam.d" / service).write_text(rules)
    code = NAMESPACE.format(folder=str(folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          timeout=60)
    if done.returncode:
        pytest.skip(done.stderr)
    return code


def authtest(before: str, user: str, password: str, service: str = "imap") -> str:
    """What ``courierpy authtest`` says, with the status at its end."""
    code = f"{before}\nfrom courierpy.admin import run\nrun()"
    words = ["authtest", "-s", service, user, password, "authpam"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False,
                          timeout=60, env=plain_environ(COURIERPY_CONFIG="/dev/null"))
    assert "Traceback" not in done.stderr, done.stderr
    return f"{done.stdout}{done.stderr}{done.returncode}"


@pytest.mark.parametrize(("user", "password", "service", "said"), [
    ("ann", PASSWORD, "imap", "authpam: accepted"),
    ("ann", "secret", "imap", "authpam: wrong password"),
    ("nobody-of-it", PASSWORD, "imap", "authpam: no such user"),
    ("off", PASSWORD, "imap", "authpam: wrong password"),
    ("old", PASSWORD, "imap", "the password is right, but the account cannot be served: authpam: old: "),
    ("old", "secret", "imap", "authpam: wrong password"),
    ("due", PASSWORD, "imap", "the password is right, but the account cannot be served: authpam: due: "),
    ("ann", PASSWORD, "pop3", "authpam: wrong password"),                  # by the rules of login
    ("ann", PASSWORD, "none", "authpam: cannot tell: authpam: PAM, service none: "),
    ("ann", PASSWORD, "away", "authpam: cannot tell: authpam: PAM, service away: "),
])
def test_what_pam_says(before: str, user: str, password: str, service: str, said: str) -> None:
    text = authtest(before, user, password, service)
    assert said in text
    assert text.endswith("0") == ("accepted" in said)


@pytest.fixture(scope="module")
def server(before: str) -> Iterator[Chain]:
    """Its accounts have the home of the account demo, which the listener's namespace has at their place."""
    homes = f"""
for user in {list(STATES)!r}:
    home = os.path.dirname(os.environ["USERDB"])
    with open("/etc/passwd") as file:
        text = file.read()
    with open("/etc/passwd", "w") as file:
        file.write(text.replace("/nowhere/" + user, home))
"""
    with chain(before=before + homes, AUTHMODULES="authpam", IMAP_LOGIN_DELAY="0") as running:
        yield running


def login(server: Chain, user: bytes, password: bytes) -> bytes:
    with server.greeted() as client:
        client.sendall(b"a LOGIN %s {%d+}\r\n%s\r\n" % (user, len(password), password))
        answer = until(client, b"\r\n")
        if answer.startswith(b"a OK"):
            client.sendall(b"b SELECT INBOX\r\nc LOGOUT\r\n")
            answer += until(client, b"c OK")
        return answer


def test_logins(server: Chain) -> None:
    good = login(server, b"ann", PASSWORD.encode())
    assert good.startswith(b"a OK") and b"b OK [READ-WRITE]" in good
    refused = login(server, b"ann", b"secret")
    assert refused.startswith(b"a NO [AUTHENTICATIONFAILED]")
    # a client does not learn whose password is right
    for user, password in ((b"old", PASSWORD.encode()), (b"due", PASSWORD.encode()),
                           (b"off", PASSWORD.encode()), (b"nobody-of-it", b"x"), (b"ann", b"\xff\xfe"),
                           (b"ann", PASSWORD.encode() + b"\0")):
        assert login(server, user, password) == refused
    log = server.wait_log("LOGIN FAILED, user=ann", 3)
    assert "the account cannot be served: authpam: old: " in log
    assert "the account cannot be served: authpam: due: " in log
    assert "Traceback" not in log
    assert login(server, b"ann", PASSWORD.encode()).startswith(b"a OK")
