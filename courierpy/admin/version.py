"""courierpy version: the version; what it runs on, and which of the libraries that it can use are there."""
from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import metadata

from courierpy import __version__

# distributions that some part of this uses where they are there
LIBRARIES = ("pyinotify", "passlib", "libpass", "bcrypt", "argon2-cffi", "webencodings", "selectolax",
             "dnspython", "python-pam", "ldap3", "psycopg", "PyMySQL", "joserfc", "scramp", "setproctitle",
             "pyseccomp")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy version", description=__doc__.partition(": ")[2])
    parser.add_argument("-v", dest="verbose", action="store_true", help="what it runs on too")
    parser.add_argument("-J", dest="as_json", action="store_true", help="all of it, as a JSON object")
    options = parser.parse_args(words)
    if not options.verbose and not options.as_json:
        print(f"courierpy {__version__}")
        return 0
    found = _all()
    if options.as_json:
        print(json.dumps(found))
        return 0
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}: " + ", ".join(f"{key} {text}" if text else f"no {key}"
                                          for key, text in value.items()))
        else:
            print(f"{name}: {' '.join(value) if isinstance(value, list) else value}")
    return 0


def _all() -> dict[str, str | list[str] | dict[str, str | None]]:
    import ssl

    from courierpy.imap import capability
    libraries: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            libraries[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            libraries[name] = None
    return {"courierpy": __version__, "python": sys.version.split()[0], "openssl": ssl.OPENSSL_VERSION,
            "system": " ".join((os.uname().sysname, os.uname().release)), "libraries": libraries,
            "extensions": sorted(word.decode() for word in capability.IMPLEMENTED)}
