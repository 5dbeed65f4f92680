"""Accounts in a directory, by Courier's authldaprc.  Needs the extra ``ldap``: ldap3.

A name is looked for by a filter, ``(&LDAP_FILTER(LDAP_MAIL=name))``, below LDAP_BASEDN; the entry has what an
account needs.  The password is compared with the entry's LDAP_CLEARPW and LDAP_CRYPTPW, or with LDAP_AUTHBIND
the directory is asked, by a bind as that entry.  Each worker keeps two connections, one that searches and
one that binds; what the server has closed meanwhile is made anew, and asked once more.

ldap3 and not python-ldap: it is Python alone, so that an extra is all that is to be installed.
"""
from __future__ import annotations

import re

from courierpy.auth import (
    MAX_ID,
    Account,
    Rejected,
    TemporaryFailure,
    Unservable,
    number_of,
    rcfile,
    stored,
)
from courierpy.auth.rcfile import told
from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from courierpy.auth import Request

    Entry = Mapping[str, list[bytes]]          # attribute, in lower case -> its values
    Found = list[tuple[str, Entry]]            # with the DN of each

SECONDS = 5                            # LDAP_TIMEOUT, where it is not set
PAGE = 500                             # entries at a time of an enumeration: servers give 1000 at most
PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._+-=")
FIELDS = (("LDAP_MAILDIR", ""), ("LDAP_MAILDIRQUOTA", ""), ("LDAP_FULLNAME", "cn"))    # and their defaults
DEREFERENCES = {"never": "NEVER", "searching": "SEARCH", "finding": "BASE", "always": "ALWAYS"}
# resultCode of RFC 4511 4.1.9
SUCCESS, SIZE_EXCEEDED, NO_SUCH_OBJECT = 0, 4, 32
PAGED_RESULTS = "1.2.840.113556.1.4.319"       # RFC 2696
# of a bind: no such entry, no password there, a wrong one
WRONG = frozenset((NO_SUCH_OBJECT, 48, 49))
# of a bind: constraint (too many tries), no rights to it, unwilling (locked): this account, and for now
REFUSED = frozenset((19, 50, 53))


def escaped(text: str) -> str:
    """What a stranger says, as a value in a filter.  RFC 4515 3."""
    return "".join(chr(octet) if octet in PLAIN else f"\\{octet:02x}"
                   for octet in text.encode("utf-8", "surrogateescape"))


class Directory:
    """What the words of the file say."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self.words = words
        self.seconds = decimal(words.get("LDAP_TIMEOUT", ""), 3600) or SECONDS
        self.uris = words.get("LDAP_URI", "").replace(",", " ").split()
        self.binds = self._flag("LDAP_AUTHBIND")
        self.starts_tls = self._flag("LDAP_TLS")
        self.version = decimal(words.get("LDAP_PROTOCOL_VERSION", ""), 3) or 3
        self.dereferences = DEREFERENCES.get(words.get("LDAP_DEREF", "").lower(), "NEVER")
        self.base = words.get("LDAP_BASEDN", "")
        self.mail = words.get("LDAP_MAIL", "mail")
        if not self.uris:
            raise TemporaryFailure("authldap: LDAP_URI is not set")
        # words that name an attribute
        self._home = words.get("LDAP_HOMEDIR", "homeDirectory")
        self._crypt = words.get("LDAP_CRYPTPW", "" if words.get("LDAP_CLEARPW") else "userPassword")
        self._fields = [words.get(word, default) for word, default in FIELDS]
        self._options = [pair.partition("=")[::2] for pair in words.get("LDAP_AUXOPTIONS", "").split(",")
                         if pair.strip()]

    def _flag(self, name: str, default: str = "0") -> bool:
        return self.words.get(name, default)[:1] in "123456789tTyY"

    def credentials(self) -> tuple[str, str] | None:
        """(DN, password) to search as; None: nobody in particular."""
        dn = self.words.get("LDAP_BINDDN", "")
        return (dn, self.words.get("LDAP_BINDPW", "")) if dn and self._flag("LDAP_INITBIND", "1") else None

    def full_name(self, user: str) -> str:
        """``user`` with LDAP_DOMAIN where it has none."""
        domain = self.words.get("LDAP_DOMAIN", "")
        return f"{user}@{domain.removeprefix('@')}" if domain and "@" not in user else user

    def filter_of(self, attribute: str, value: str) -> str:
        more = self.words.get("LDAP_FILTER", "")
        return f"(&{more}({attribute}={escaped(value)}))" if more else f"({attribute}={escaped(value)})"

    def handle_filter(self, user: str) -> str | None:
        """The filter of the map from an address to a handle; None where there is none for it."""
        pattern = self.words.get("LDAP_EMAILMAP", "")
        local, at, realm = user.rpartition("@")
        if not pattern or not at:
            return None
        values = {"@user@": escaped(local), "@realm@": escaped(realm)}
        return re.sub("@user@|@realm@", lambda found: values[found[0]], pattern)

    def everybody(self) -> str:
        """The filter of an enumeration."""
        return self.words.get("LDAP_ENUMERATE_FILTER") or self.words.get("LDAP_FILTER") or f"({self.mail}=*)"

    def attributes(self, secret: bool) -> list[str]:
        """Those to be read; ``secret``: with passwords."""
        names = [self.mail, self._home, *self._fields, self.words.get("LDAP_UID", ""),
                 self.words.get("LDAP_GID", ""), *(name for name, _ in self._options)]
        if secret and not self.binds:
            names += [self._crypt, self.words.get("LDAP_CLEARPW", "")]
        return sorted({name for name in names if name})

    def secrets(self, entry: Entry) -> tuple[list[str], str]:
        """(hashes of the password, the clear password)."""
        return _all(entry, self._crypt), _one(entry, self.words.get("LDAP_CLEARPW", ""))

    def account(self, entry: Entry, user: str) -> Account:
        """Raises Unservable."""
        home = _one(entry, self._home)
        root = self.words.get("LDAP_MAILROOT", "")
        if home and root and not home.startswith("/"):
            home = f"{root.rstrip('/')}/{home}"
        # as it is written there, so that each spelling is one account
        address = next((value for value in _all(entry, self.mail) if value.lower() == user.lower()), user)
        try:
            uid, gid = self._ids(entry)
            if not home:
                raise ValueError
        except (ValueError, KeyError):
            raise Unservable(f"authldap: {user}: uid, gid or home is missing or bad") from None
        maildir, quota, name = (_one(entry, attribute) for attribute in self._fields)
        return Account(address, uid, gid, home, maildir=maildir, quota=quota, name=name,
                       options=self._said(entry, user))

    def _ids(self, entry: Entry) -> tuple[int, int]:
        """The entry's own, else those of all.  Raises ValueError, KeyError."""
        import grp
        import pwd
        uid, gid = (_one(entry, self.words.get(name, "")) for name in ("LDAP_UID", "LDAP_GID"))
        everybody = self.words.get("LDAP_GLOB_UID", "")
        owner = pwd.getpwnam(everybody) if everybody and decimal(everybody, MAX_ID) is None else None
        uid = uid or (str(owner.pw_uid) if owner else everybody)
        group = self.words.get("LDAP_GLOB_GID", "")
        if not gid and group:
            gid = group if decimal(group, MAX_ID) is not None else str(grp.getgrnam(group).gr_gid)
        elif not gid and owner:
            gid = str(owner.pw_gid)
        return number_of(uid), number_of(gid)

    def _said(self, entry: Entry, user: str) -> str:
        """The options.  Raises Unservable: a value that would be two options is none."""
        found = []
        for attribute, option in self._options:
            for value in _all(entry, attribute):
                if "," in value:
                    raise Unservable(f"authldap: {user}: {attribute} has a comma")
                found.append(f"{option or attribute}={value}")
        return ",".join(found)


def _all(entry: Entry, attribute: str) -> list[str]:
    return [value.decode("utf-8", "surrogateescape") for value in entry.get(attribute.lower(), ())]


def _one(entry: Entry, attribute: str) -> str:
    return next(iter(_all(entry, attribute)), "")


class Broken(Exception):
    """The connection is of no use any more; str() says why."""


class Line:
    """A connection to the first of the servers that can be had, made when it is needed."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._connection: Any = None

    def ask(self, question: Callable[[Any], Any], credentials: tuple[str, str] | None = None) -> Any:
        """What ``question`` gives of a connection.  It may have ended since it was last used: then it is made
        anew, with ``credentials`` bound again, and asked once more.  Raises TemporaryFailure."""
        from ldap3.core.exceptions import LDAPException, LDAPInvalidFilterError
        for last in (self._connection is None, True):
            try:
                if self._connection is None:
                    self._connection = self._opened(credentials)
                if self._connection.closed:
                    raise Broken("the connection has ended")     # ldap3 would open it by itself, without TLS
                return question(self._connection)
            except LDAPInvalidFilterError as error:
                raise TemporaryFailure(f"authldap: a filter cannot be read: {told(error)}") from None
            except (LDAPException, OSError, Broken) as error:
                self.close()
                if last:
                    raise TemporaryFailure(f"authldap: {told(error)}") from None
        raise AssertionError("the last one answers or raises")

    def _opened(self, credentials: tuple[str, str] | None) -> Any:
        """Raises Broken when no server can be had."""
        from ldap3.core.exceptions import LDAPException
        why = []
        for uri in self._directory.uris:
            connection = None
            try:
                connection = self._connected(uri)
                if credentials is not None and bound(connection, *credentials) != SUCCESS:
                    raise Broken(f"LDAP_BINDDN cannot be bound: {connection.result['description']}")
                return connection
            except (LDAPException, OSError, ValueError, Broken) as error:
                why.append(f"{uri}: {told(error)}")
                _close(connection)
        raise Broken("; ".join(why))

    def _connected(self, uri: str) -> Any:
        """Open, with TLS where that is asked for; nobody is bound."""
        import ldap3
        directory = self._directory
        server = ldap3.Server(uri, get_info=ldap3.NONE, connect_timeout=directory.seconds)
        if server.ssl or directory.starts_tls:     # the authorities take a while to be loaded
            server.tls = _tls(directory.words)
        connection = ldap3.Connection(server, receive_timeout=directory.seconds, auto_referrals=False,
                                      check_names=False, version=directory.version)
        try:
            connection.open(read_server_info=False)
            if directory.starts_tls and not server.ssl:
                connection.start_tls(read_server_info=False)
                if not connection.tls_started:
                    raise Broken("TLS could not be started")
        except BaseException:
            _close(connection)
            raise
        return connection

    def close(self) -> None:
        """It is made anew when it is needed."""
        connection, self._connection = self._connection, None
        _close(connection)


def _close(connection: Any) -> None:
    if connection is not None:
        try:
            connection.strategy.close()
        except Exception:  # noqa: BLE001, S110  # a socket in any state, which nobody needs any more
            pass


def bound(connection: Any, dn: str, password: str) -> int:
    """The resultCode of a bind.  Raises Broken without a password: that would be one of nobody, and succeed
    (RFC 4513 5.1.2)."""
    if not password or not dn:
        raise Broken("a bind without a password is one of nobody")
    connection.rebind(dn, password, "SIMPLE", read_server_info=False)
    connection.password = None
    code: int = connection.result["result"]
    return code


def _tls(words: Mapping[str, str]) -> Any:
    """The certificate of a server must be good and of its name; LDAPTLS_CACERT and LDAPTLS_REQCERT are as
    OpenLDAP's library has them."""
    import ldap3

    from courierpy.system import tlsclient
    context = tlsclient.context(words.get("LDAPTLS_CACERT", ""),
                                words.get("LDAPTLS_REQCERT", "").lower() not in ("never", "allow"))

    class Checked(ldap3.Tls):          # type: ignore[misc]  # its own compares names in an older way
        def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
            connection.socket = context.wrap_socket(connection.socket, server_hostname=connection.server.host)

    return Checked(validate=context.verify_mode)


class Asker:
    """What a process asks a directory."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._searching = Line(directory)
        self._binding = Line(directory)

    def entry(self, user: str) -> tuple[str, Entry] | None:
        """(DN, attributes) of the one entry that has this name; None when there is none.  Raises
        TemporaryFailure."""
        directory = self.directory
        attribute, value = directory.mail, user
        handles = directory.handle_filter(user)
        if handles is not None:
            wanted = directory.words.get("LDAP_EMAILMAP_ATTRIBUTE", "")
            base = directory.words.get("LDAP_EMAILMAP_BASEDN") or directory.base
            found = self._only(base, handles, [wanted], user)
            value = _one(found[1], wanted) if found else ""
            if not value:
                return None
            attribute = directory.words.get("LDAP_EMAILMAP_MAIL") or attribute
        return self._only(directory.base, directory.filter_of(attribute, value), directory.attributes(True),
                          user)

    def _only(self, base: str, text: str, attributes: list[str], user: str) -> tuple[str, Entry] | None:
        found, _ = self._search(base, text, attributes, most=2)
        if len(found) > 1:
            raise TemporaryFailure(f"authldap: {user}: more than one entry has this name")
        return found[0] if found else None

    def everybody(self) -> Iterator[Entry]:
        """The entries of the enumeration, a page at a time.  Raises TemporaryFailure."""
        cookie: bytes | None = None
        while True:
            found, cookie = self._search(self.directory.base, self.directory.everybody(),
                                         self.directory.attributes(False), page=PAGE, cookie=cookie)
            yield from (entry for _, entry in found)
            if not cookie:
                return

    def _search(self, base: str, text: str, attributes: list[str], most: int = 0, page: int | None = None,
                cookie: bytes | None = None) -> tuple[Found, bytes | None]:
        def search(connection: Any) -> tuple[Found, bytes | None]:
            connection.search(base, text, "SUBTREE", directory.dereferences, attributes, most,
                              directory.seconds, paged_size=page, paged_cookie=cookie)
            result = connection.result
            found: Found = [
                (each["dn"], {name.lower(): list(values) for name, values in each["raw_attributes"].items()})
                for each in connection.response or () if each["type"] == "searchResEntry"]
            enough = result["result"] == SIZE_EXCEEDED and 0 < most <= len(found)
            if result["result"] != SUCCESS and not enough:
                raise Broken(f"search below {base}: {result['description']} {result['message']}".rstrip())
            control = (result.get("controls") or {}).get(PAGED_RESULTS, {})
            return found, control.get("value", {}).get("cookie") or None

        directory = self.directory
        answer: tuple[Found, bytes | None]
        answer = self._searching.ask(search, directory.credentials())
        return answer

    def bind(self, dn: str, password: str, user: str) -> None:
        """Raises Rejected, Unservable, TemporaryFailure."""
        if not password or not dn:
            raise Rejected
        code = self._binding.ask(lambda connection: bound(connection, dn, password))
        if code in WRONG:
            raise Rejected
        if code in REFUSED:
            raise Unservable(f"authldap: {user}: the directory refuses to bind it, result {code}")
        if code != SUCCESS:
            self._binding.close()
            raise TemporaryFailure(f"authldap: bind as {dn}: result {code}")

    def close(self) -> None:
        self._searching.close()
        self._binding.close()


_asker: Asker | None = None            # of this process


def _ready(environ: Mapping[str, str]) -> Asker:
    """Raises TemporaryFailure."""
    global _asker
    words = rcfile.words(rcfile.path_of("authldap", environ))
    if _asker is None or _asker.directory.words != words:
        try:
            import ldap3  # noqa: F401
        except ImportError as error:
            raise TemporaryFailure(f"authldap: {error}") from None
        if _asker is not None:
            _asker.close()
        _asker = Asker(Directory(words))
    return _asker


def lookup(request: Request) -> Account:
    """As each module's.  Raises Rejected, Unservable, TemporaryFailure."""
    user = stored.user_of(request)
    if not user:
        raise Rejected
    asker = _ready(request.environ)
    directory = asker.directory
    user = directory.full_name(user)
    if directory.binds and request.kind.startswith("cram-"):
        raise Rejected                 # nobody but the directory knows the password
    found = asker.entry(user)
    if found is None:
        stored.like_one(request)
        raise Rejected
    dn, entry = found
    if directory.binds and request.kind == "login":
        asker.bind(dn, request.password, user)
        clear = request.password
    else:
        hashes, clear = directory.secrets(entry)
        clear = stored.proved(request, hashes, clear)
    account = directory.account(entry, user)
    account.passwd2 = clear
    return account


def accounts(environ: Mapping[str, str]) -> Iterator[Account]:
    """All that the directory has, those without uid, gid or home left out.  Raises TemporaryFailure."""
    asker = _ready(environ)
    for entry in asker.everybody():
        names = _all(entry, asker.directory.mail)
        if names:
            try:
                yield asker.directory.account(entry, names[0])
            except Unservable:
                continue
