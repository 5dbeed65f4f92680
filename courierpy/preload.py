"""What every connection needs, loaded once in the listener, before it forks.

After the login nothing may have to be loaded: the user need not be able to read
our files.  And what a child writes to, it gets a copy of, page by page: that is
most of what a connection costs.  So nothing is loaded here that sessions can do
without, and a few sessions are rehearsed (rehearsal.py).
"""
from __future__ import annotations

from courierpy.system import proc

# traceback: a bug of ours is logged even where our files cannot be read
MODULES = ("courierpy.hibernate.hearing", "courierpy.hibernate.sleeper", "courierpy.hibernate.woken",
           "courierpy.imap.attributes", "courierpy.imapd", "courierpy.maildir.mailbox",
           "courierpy.maildir.acl", "courierpy.maildir.modseqs", "courierpy.maildir.quota",
           "courierpy.maildir.sharedindex",
           "courierpy.maildir.store", "courierpy.maildir.trash", "courierpy.message",
           "courierpy.system.deflate", "datetime", "hashlib", "html", "resource", "traceback", "unicodedata",
           "zlib", "encodings.ascii", "encodings.latin_1", "encodings.utf_8")
# of what comes before the login, where that is done in the session's process
LOGIN_MODULES = ("courierpy.auth.authdaemon", "courierpy.auth.mechanisms", "courierpy.auth.sasl",
                 "courierpy.imaplogin", "courierpy.login.alone", "courierpy.system.tls")


def preload(apart: bool = False) -> None:
    """``apart``: what comes before the login is done by other processes, which load it.  Raises
    ImportError; gives up the collector of garbage, whose marks would be written to."""
    import gc
    import importlib

    from courierpy.imap import commands, ext
    from courierpy.imap.commands.index import COMMANDS
    from courierpy.message import charsets
    for name in MODULES if apart else (*MODULES, *LOGIN_MODULES):
        importlib.import_module(name)
    charsets.load()
    proc.library()
    for word in COMMANDS:
        commands.find(word)
    for table in ext.TABLES:
        for key in ext.keys(table):
            ext.find(table, key)
    gc.collect()
    gc.disable()


def freeze() -> None:
    """The last thing before the first connection."""
    import gc
    gc.collect()
    gc.freeze()
