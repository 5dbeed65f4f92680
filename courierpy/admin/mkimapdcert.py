"""courierpy mkimapdcert: the certificate that the settings name, made where there is none, as Courier's."""
from __future__ import annotations

import argparse
import os

from courierpy.admin import complain, default_files, mkcert, read_settings
from courierpy.system.settings import Settings


def main(words: list[str], program: str = "mkimapdcert", service: str = "imapd") -> int:
    """``service``: whose settings and certificate they are."""
    parser = argparse.ArgumentParser(
        prog=f"courierpy {program}",
        description=f"A self-signed certificate for {service}, good for 365 days, in its TLS_CERTFILE")
    parser.add_argument("-C", dest="files", action="append", metavar="FILE",
                        help=f"settings file, instead of /etc/courier/{service}-ssl")
    parser.add_argument("--name", default=os.uname().nodename, help="host name in the certificate")
    try:
        chosen = parser.parse_args(words)
    except SystemExit as end:
        return 1 if end.code else 0
    files = chosen.files or default_files(f"{service}-ssl")
    path = Settings(read_settings(files)).text("TLS_CERTFILE") or f"/etc/courier/{service}.pem"
    if os.path.lexists(path):
        complain(f"{path} already exists.", program)
        return 1
    return 0 if mkcert.is_made(path, chosen.name) else 1
