"""courierpy authenumerate: the accounts, a line each: name, uid, gid, home, Maildir, as Courier's.

What modules of AUTHMODULES have no list of their accounts, or one that cannot be read, is an error: then
nothing is printed.
"""
from __future__ import annotations

import argparse

from courierpy.admin import complain, default_files, read_settings
from courierpy.auth import Rejected, Request, TemporaryFailure, configured, listing, with_domain
from courierpy.auth.postal import Accounts
from courierpy.model.accountoptions import says_yes
from courierpy.system.settings import Settings


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy authenumerate",
                                     description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    parser.add_argument("-s", dest="shared", action="store_true",
                        help="without accounts that have the option disableshared")
    parser.add_argument("-o", dest="options", action="store_true", help="with the options of each account")
    try:
        chosen = parser.parse_args(words)
    except SystemExit as end:
        return 1 if end.code else 0
    settings = Settings(read_settings(chosen.files or default_files()))
    values = settings.values
    try:
        names = listing.names(configured(values), values)
    except TemporaryFailure as error:
        complain(str(error))
        return 1
    status = 0
    accounts = Accounts(settings)
    try:
        for name in dict.fromkeys(names):
            try:
                found = accounts.ask(Request("pre", "imap", values, user=with_domain(name, values)))
            except (Rejected, TemporaryFailure) as error:
                complain(f"{name}: {str(error) or 'it cannot be found out'}")
                status = 1
                continue
            if chosen.shared and says_yes(found.options, "disableshared"):
                continue
            fields = [found.address or name, str(found.uid), str(found.gid), found.home, found.maildir]
            if chosen.options:
                fields.append(found.options)
            print("\t".join(fields))
    finally:
        accounts.close()
    return status
