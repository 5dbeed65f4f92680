"""What etc/ ships for who runs it: fail2ban's filter and jail, logrotate's file, certbot's hook."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO, need, plain_environ

ETC = REPO / "etc"
FORMS = ("courier", "lines", "journal", "syslog", "logfmt", "json")
# refused logins, whose client may have said anything
REFUSED = (("joe", {}), ("", {}), (None, {}), ("x, ip=[9.9.9.9], port=[1]", {}),
           ("x\r\nLOGIN FAILED, user=x, ip=[9.9.9.9], port=[1]", {}), ('"', {}), ("\\", {}),
           ('\\" ip=9.9.9.9', {}), ('","ip":"9.9.9.9","port":"1"}', {}), ("ip=9.9.9.9 port=1", {}),
           ("ip=9.9.9.9", {}), ("\xff\u202e", {}),
           ("9.9.9.9", {"method": "PLAIN"}), ("y" * 300, {"method": "OAUTHBEARER"}), (", , ", {}))
SAY = ("import json, os, sys\nfrom courierpy.system import log\nlog.start('imaplogin', os.environ)\n"
       "for number, (user, more) in enumerate(json.load(sys.stdin), 1):\n"
       "    who = log.who(f'::ffff:192.0.2.{number}', str(number), user, **more)\n"
       "    peer = log.who('198.51.100.7', '1')\n"
       "    log.debug(f'Connection, {peer}')\n"
       "    log.info(f'LOGIN FAILED, {who}')\n"
       "    log.err(f'authentication error: no answer, {who}')\n"
       "    log.info(f'LOGIN, {who}, protocol=IMAP')\n"
       "    log.err('./.x: LOGIN FAILED, ip=[9.9.9.9], port=[1]: No such file')\n"
       "    log.debug(f'Disconnected, {peer}, time=60')\n")


def recorded(form: str) -> str:
    """A log of refused logins, one of each of 192.0.2.1 and so on, and of other events."""
    wanted = {"journal": "courier", "syslog": "courier"}.get(form, form)
    done = subprocess.run([sys.executable, "-c", SAY], input=json.dumps(REFUSED), capture_output=True,
                          text=True, env=plain_environ(LOG_FORMAT=wanted), check=True, timeout=60)
    found = done.stderr
    if wanted != form:                 # as a syslog daemon, and fail2ban of the journal, write them
        head = "Jul 28 12:00:00 host " if form == "syslog" else "2026-07-28T12:00:00.000000 host "
        found = "".join(f"{head}imaplogin[77]: {line.split(': ', 1)[1]}\n" for line in found.splitlines())
    return found


@pytest.mark.clients
@pytest.mark.parametrize("form", FORMS)
def test_the_filter_finds_each_refused_login_once_and_nothing_else(form: str, tmp_path: Path) -> None:
    program = need("fail2ban-regex")
    log = tmp_path / "log"
    log.write_text(recorded(form))
    shutil.copy("/etc/fail2ban/filter.d/common.conf", tmp_path)
    shutil.copy(ETC / "fail2ban/filter.d/courierpy.conf", tmp_path)
    kind = "journal" if form == "journal" else "file"
    done = subprocess.run([program, "-o", "ip", str(log), f"{tmp_path}/courierpy.conf[logtype={kind}]"],
                          capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    wanted = [f"192.0.2.{number}" for number in range(1, len(REFUSED) + 1)]
    assert done.stdout.split() == wanted, log.read_text()


@pytest.mark.clients
def test_the_jail_is_one_that_fail2ban_takes(tmp_path: Path) -> None:
    client = need("fail2ban-client")
    folder = tmp_path / "fail2ban"
    shutil.copytree("/etc/fail2ban", folder, symlinks=True,
                    ignore=shutil.ignore_patterns("jail.d", "*.local"))
    shutil.copytree(ETC / "fail2ban", folder, dirs_exist_ok=True)
    (tmp_path / "imapd.log").write_text("")
    jail = folder / "jail.d/courierpy.conf"
    jail.write_text(jail.read_text().replace("/var/log/courierpy", str(tmp_path)))
    done = subprocess.run([client, "-c", str(folder), "-d"], capture_output=True, text=True, check=False,
                          timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    said = [line for line in done.stdout.splitlines() if "'courierpy'" in line]
    assert any("addlogpath" in line and str(tmp_path / "imapd.log") in line for line in said)
    assert any("addfailregex" in line and "LOGIN FAILED" in line for line in said)


def test_the_log_is_renamed_and_the_listener_told_once(tmp_path: Path) -> None:
    unpacked = REPO / ".venv/clients/logrotate"
    path = os.pathsep.join([str(unpacked / "usr/sbin"), os.environ.get("PATH", ""), "/usr/sbin"])
    program = shutil.which("logrotate", path=path)
    if program is None:
        pytest.skip("logrotate is not installed")
    logs = tmp_path / "log"
    logs.mkdir(mode=0o755)
    for name in ("imapd", "pop3d"):
        (logs / f"{name}.log").write_text(f"{name}\n")
    text = (ETC / "logrotate.d/courierpy").read_text().replace("/var/log/courierpy", str(logs))
    text = text.replace("systemctl reload courierpy", f"echo reload >> {tmp_path}/told")
    if os.getuid():
        text = text.replace("create 0660 root adm", "create 0660")
    (tmp_path / "conf").write_text(text)
    (tmp_path / "conf").chmod(0o644)
    libraries = ":".join(map(str, unpacked.glob("usr/lib/*-linux-*")))
    for _ in range(2):
        subprocess.run([program, "-f", "-s", str(tmp_path / "state"), str(tmp_path / "conf")], check=True,
                       timeout=60, env=plain_environ(LD_LIBRARY_PATH=libraries), capture_output=True)
        for name in ("imapd", "pop3d"):
            with (logs / f"{name}.log").open("a") as file:
                file.write("later\n")
    assert (logs / "imapd.log").read_text() == (logs / "pop3d.log").read_text() == "later\n"
    assert (logs / "imapd.log.1").read_text() == "later\n"         # not packed while sessions may write to it
    assert (logs / "imapd.log.2.gz").exists()
    assert (tmp_path / "told").read_text() == "reload\nreload\n"


HOLD = ("import os, signal, sys\nfrom courierpy.listener import pidfile\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n"
        "assert pidfile.lock(sys.argv[1]) is not None\npidfile.write(sys.argv[1])\nprint(flush=True)\n"
        "for _ in range(2):\n    assert signal.sigtimedwait([signal.SIGHUP], 60)\n"
        "    print('told', flush=True)\n")


def hook(folder: Path, active: bool, **environ: str) -> subprocess.CompletedProcess[str]:
    """The hook, where systemctl knows the service as active, or as not; what it was told is in ``asked``."""
    binaries = folder / "bin"
    binaries.mkdir(exist_ok=True)
    systemctl = binaries / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$*" >> {folder}/asked\n'
                         f'[ "$1" != is-active ] || exit {0 if active else 3}\n')
    systemctl.chmod(0o755)
    return subprocess.run([str(ETC / "letsencrypt/courierpy")], capture_output=True, text=True, check=False,
                          timeout=60, env=plain_environ(PATH=f"{binaries}:/usr/bin:/bin", **environ))


def test_a_new_certificate_reloads_the_service(tmp_path: Path) -> None:
    for _ in range(2):
        assert hook(tmp_path, active=True).returncode == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["is-active --quiet courierpy", "reload courierpy"] * 2


def test_a_new_certificate_reloads_daemons_by_their_pid_files(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    tcpd = tmp_path / "couriertcpd"
    tcpd.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from courierpy.tcpd import run; run()" "$@"\n')
    tcpd.chmod(0o755)
    environ = {"COURIERTCPD": str(tcpd), "PIDFILES": str(path), "PYTHONPATH": str(REPO)}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True,
                          env=plain_environ()) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        for _ in range(2):
            done = hook(tmp_path, active=False, **environ)
            assert done.returncode == 0, done.stderr
            assert daemon.stdout.readline() == "told\n"
    assert daemon.returncode == 0
    done = hook(tmp_path, active=False, **environ)
    assert done.returncode == 1                    # certbot tells of it
    assert "no couriertcpd runs by this file" in done.stderr
    assert "reload" not in (tmp_path / "asked").read_text()
