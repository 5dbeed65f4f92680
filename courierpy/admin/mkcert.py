"""courierpy mkcert FILE: a self-signed certificate with its key, for imapd-ssl."""
from __future__ import annotations

import argparse
import os
import re
import subprocess

from courierpy.admin import complain
from courierpy.model.numbers import decimal

MOST_DAYS = 36_500                 # a century: openssl's dates end somewhere behind it
NAME_CHARS = 64                    # of a common name (X.520)
_NAME = re.compile(rf"(?=.{{1,{NAME_CHARS}}}\Z)[A-Za-z0-9*_][A-Za-z0-9._-]*")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy mkcert", description=__doc__)
    parser.add_argument("file", help="PEM file to make, mode 0600")
    parser.add_argument("--name", default="localhost", help="host name in the certificate")
    parser.add_argument("--days", type=_days, default=365, help=f"how long it is good, up to {MOST_DAYS:,}")
    options = parser.parse_args(words)
    if _NAME.fullmatch(options.name) is None:
        complain(f"--name {options.name!r}: a host name of at most {NAME_CHARS} characters was expected, as "
                 "mail.example.org")
        return 2
    if os.path.lexists(options.file):
        complain(f"{options.file}: it is there already: name another file, or remove it first")
        return 1
    if not is_made(options.file, options.name, options.days):
        return 1
    print(f"{options.file}: made, for {options.name}, good for {options.days} days")
    return 0


def _days(text: str) -> int:
    number = decimal(text, MOST_DAYS)
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from 1 to {MOST_DAYS} was expected")
    return number


def is_made(path: str, name: str, days: int = 365) -> bool:
    """As make(); where openssl(1) cannot do it that is told.  OSError."""
    try:
        make(path, name, days)
    except FileNotFoundError as error:
        if error.filename != "openssl":
            raise
        complain("openssl: no such program, and it makes the certificate: install the package openssl")
        return False
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        why = said[0] if said else f"exit status {error.returncode}"
        complain(f"{path}: openssl did not make it: {why}")
        return False
    return True


def make(path: str, name: str, days: int = 365) -> None:
    """By openssl(1).  One for localhost is good for its addresses.  Raises OSError, CalledProcessError."""
    names = f"DNS:{name}" + (",IP:127.0.0.1,IP:::1" if name == "localhost" else "")
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", str(days), "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}",
         "-keyout", "-", "-out", "-"], check=True, capture_output=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(done.stdout)
