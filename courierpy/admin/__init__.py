"""The ``courierpy`` command: administration, one file per subcommand."""
from __future__ import annotations

import os
import sys

SUBCOMMANDS = {
    "serve": "start the listeners as the settings say",
    "config": "print the settings in force and check them",
    "demo": "make a folder with a demo account and Maildir",
    "mkcert": "make a self-signed certificate",
    "convert": "take over a Maildir from Dovecot, or give it back",
    "reindex": "compute what clients will ask for, before they do",
}


def run() -> None:
    sys.exit(main(sys.argv))


def main(argv: list[str]) -> int:
    if len(argv) < 2 or argv[1] not in SUBCOMMANDS:
        print("Usage: courierpy COMMAND [options]\n")
        for name, text in SUBCOMMANDS.items():
            print(f"  {name:8} {text}")
        return 0 if argv[1:] in (["--help"], ["-h"]) else 2
    import importlib
    module = importlib.import_module(f"courierpy.admin.{argv[1]}")
    status: int = module.main(argv[2:])
    return status


def read_settings(files: list[str]) -> dict[str, str]:
    """The files on top of each other.  Exits with the complaint of a bad one."""
    from courierpy.system.settings import SettingsError, parse_file
    values: dict[str, str] = {}
    try:
        for path in files:
            values = parse_file(path, values)
    except SettingsError as error:
        sys.exit(f"courierpy: {error}")
    return values


def default_files() -> list[str]:
    """Courier's places, as far as they are there."""
    places = ("/etc/courier/imapd", "/etc/courier/imapd-ssl")
    return [path for path in places if os.path.exists(path)]
