"""What every connection needs, loaded once in the listener, before it forks.

After the login nothing may have to be loaded: the user need not be able to read
our files.  And what a child writes to, it gets a copy of, page by page: that is
most of what a connection costs.  So nothing is loaded here that sessions can do
without, and a few sessions are rehearsed (rehearsal.py).  Where memory is free among
what is shared, it is taken (system/holes.py), so that sessions begin pages of their own.
"""
from __future__ import annotations

from courierpy.model import regex
from courierpy.system import holes, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# traceback: a bug of ours is logged even where our files cannot be read
MODULES = ("courierpy.hibernate.hearing", "courierpy.hibernate.sleeper", "courierpy.hibernate.woken",
           "courierpy.imap.internaldates", "courierpy.imapd", "courierpy.maildir.mailbox",
           "courierpy.maildir.acl", "courierpy.maildir.counting", "courierpy.maildir.disposal",
           "courierpy.maildir.draft", "courierpy.maildir.graveyard",
           "courierpy.maildir.flagwriter", "courierpy.maildir.formats.dovecot",
           "courierpy.maildir.intake", "courierpy.maildir.keptfile", "courierpy.maildir.keptnumbers",
           "courierpy.maildir.linked", "courierpy.maildir.mirrored", "courierpy.maildir.modseqs",
           "courierpy.maildir.neighbours", "courierpy.maildir.quota",
           "courierpy.maildir.removal", "courierpy.maildir.sharedindex", "courierpy.maildir.sharing",
           "courierpy.maildir.stores", "courierpy.maildir.totrash", "courierpy.maildir.transfer",
           "courierpy.maildir.trash", "courierpy.message",
           "courierpy.system.deflate", "courierpy.system.denials", "courierpy.system.landlock",
           "courierpy.system.mailer", "courierpy.system.notices", "courierpy.system.presence",
           "datetime", "filecmp", "hashlib", "html", "resource", "traceback", "unicodedata",
           "zlib", "encodings.ascii", "encodings.latin_1", "encodings.utf_8")
# of what comes before the login, where that is done in the session's process
LOGIN_MODULES = ("courierpy.auth.authdaemon", "courierpy.auth.mechanisms", "courierpy.auth.sasl",
                 "courierpy.imap.prelogin", "courierpy.imaplogin", "courierpy.login.alone",
                 "courierpy.system.tls")


# the same of POP3, which has no tables to be filled
POP3_MODULES = ("courierpy.maildir.formats.dovecot", "courierpy.maildir.index.valuecache",
                "courierpy.maildir.mailbox", "courierpy.maildir.quota", "courierpy.maildir.removal",
                "courierpy.maildir.sharing", "courierpy.maildir.stores", "courierpy.message",
                "courierpy.pop3d", "courierpy.system.denials", "courierpy.system.landlock",
                "courierpy.system.notices", "courierpy.system.presence", "filecmp", "hashlib", "resource",
                "traceback", "unicodedata", "zlib", "encodings.ascii", "encodings.latin_1", "encodings.utf_8")
POP3_LOGIN_MODULES = ("courierpy.auth.authdaemon", "courierpy.auth.mechanisms", "courierpy.auth.sasl",
                      "courierpy.login.alone", "courierpy.pop3login", "courierpy.system.tls")


# and of SMAP, where that is spoken beside IMAP
SMAP_MODULES = ("courierpy.smap.session",)
SMAP_LOGIN_MODULES = ("courierpy.smap.prelogin",)
# and of a login that is sent on to another host
PROXY_LOGIN_MODULES = ("courierpy.login.between", "courierpy.login.onward", "courierpy.system.confined",
                       "courierpy.system.haproxy", "courierpy.system.tlsclient")


def preload(apart: bool = False, protocol: str = "IMAP", smap: bool = False, proxy: bool = False) -> None:
    """``apart``: what comes before the login is done by other processes, which load it.  ``smap``: is SMAP
    spoken too?  ``proxy``: are logins sent on?  Raises ImportError; gives up the collector of garbage, whose
    marks would be written to."""
    import gc
    import importlib

    modules: tuple[str, ...] = POP3_MODULES if protocol == "POP3" else MODULES
    login: tuple[str, ...] = POP3_LOGIN_MODULES if protocol == "POP3" else LOGIN_MODULES
    if smap:
        modules, login = (*modules, *SMAP_MODULES), (*login, *SMAP_LOGIN_MODULES)
    if proxy:
        login = *login, *PROXY_LOGIN_MODULES
    for name in modules if apart else (*modules, *login):
        importlib.import_module(name)
    if protocol == "IMAP":
        _fill_tables()
    regex.compile_all()
    proc.library()
    gc.collect()
    gc.disable()


def _fill_tables() -> None:
    """Load what stands in the tables of IMAP, all commands and extensions."""
    from courierpy.imap import commands, ext
    from courierpy.imap.commands.index import COMMANDS
    from courierpy.message import charsets
    from courierpy.model import messages
    charsets.load()
    messages.prepare()
    for word in COMMANDS:
        commands.find(word)
    for table in ext.TABLES:
        for key in ext.keys(table):
            ext.find(table, key)


def freeze(environ: Mapping[str, str], protocol: str) -> None:
    """The last thing before the first connection, whose session has this environment."""
    import gc
    if protocol == "IMAP":
        from courierpy.imap import capability
        from courierpy.system.settings import from_environ
        for tls in (False, True):
            capability.line(from_environ(environ), "session", tls)
    gc.collect()
    holes.fill()
    gc.freeze()
