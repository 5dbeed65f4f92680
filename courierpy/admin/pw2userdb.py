"""courierpy pw2userdb: the accounts of the system as rows of a userdb, as Courier's.

With passwords where /etc/shadow can be read.  Behind each account stands a row from its uid to its name.
"""
from __future__ import annotations

import argparse
import pwd

from courierpy.admin.user import FORBIDDEN, row_of
from courierpy.auth.authshadow import SHADOW

_PLAIN = str.maketrans(dict.fromkeys(FORBIDDEN, " "))


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy pw2userdb", description=__doc__)
    try:
        parser.parse_args(words)
    except SystemExit as end:
        return 1 if end.code else 0
    secrets = _secrets()
    for entry in pwd.getpwall():
        fields = {"uid": str(entry.pw_uid), "gid": str(entry.pw_gid), "home": entry.pw_dir,
                  "shell": entry.pw_shell, "systempw": secrets.get(entry.pw_name, entry.pw_passwd),
                  "gecos": entry.pw_gecos}
        name = entry.pw_name.translate(_PLAIN)
        print(row_of(name, {key: value.translate(_PLAIN) for key, value in fields.items() if value}))
        print(f"{entry.pw_uid}=\t{name}")
    return 0


def _secrets() -> dict[str, str]:
    """The hashes by name, as far as we may know them."""
    try:
        with open(SHADOW, encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.rstrip("\n").split(":") for line in file]
    except OSError:
        return {}
    return {row[0]: row[1] for row in rows if len(row) > 1}
