"""Threads of messages.  RFC 5256 BASE.6.4.THREAD.  Pure; depth costs no Python calls.

A message comes as a ``Mail``; a thread goes out as nested lists of numbers:
``[3, 6, [[4, 23], [44, 7, 96]]]`` is 3, answered by 6, answered by 4 and by 44.
"""
from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_ID = re.compile(rb'<\s*("(?:[^"\\]|\\.)*"|[^<>@"\s]+)\s*@\s*([^<>\s]+)\s*>')
_ESCAPE = re.compile(rb"\\(.)")


class Mail:
    """``number``: sequence number.  ``date``: sent date, seconds.  ``subject``: key
    of the base subject; ``reply``: was it one.  ``own``, ``refs``: message IDs."""

    __slots__ = ("date", "number", "own", "refs", "reply", "subject")

    def __init__(self, number: int, date: float, subject: str, reply: bool = False,
                 own: bytes | None = None, refs: Iterable[bytes] = ()) -> None:
        self.number = number
        self.date = date
        self.subject = subject
        self.reply = reply
        self.own = own
        self.refs = list(refs)


def message_ids(value: bytes) -> list[bytes]:
    """The valid message IDs of a header, each in one form however it is quoted."""
    found = []
    for match in _ID.finditer(value):
        local = match[1]
        if local.startswith(b'"'):
            local = _ESCAPE.sub(rb"\1", local[1:-1])
        found.append(local + b"@" + match[2])
    return found


class _Node:
    """A message in the tree, or a place for one that is not there (``mail`` is None)."""

    __slots__ = ("children", "group", "mail", "parent")

    def __init__(self, mail: Mail | None = None) -> None:
        self.mail = mail
        self.parent: _Node | None = None
        self.children: list[_Node] = []
        self.group: _Node = self           # union-find: nodes that were ever linked

    def find(self) -> _Node:
        node = self
        while node.group is not node:
            node.group = node.group.group
            node = node.group
        return node

    def adopt(self, child: _Node) -> None:
        """Make ``child``, which has no parent, a child of this node, unless that would be a loop."""
        if child.find() is self.find():
            above: _Node | None = self
            while above is not None:
                if above is child:
                    return
                above = above.parent
        child.parent = self
        self.children.append(child)
        child.find().group = self.find()

    def leave(self) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent = None

    def key(self) -> tuple[float, int]:
        """Sent date, then sequence number; of a dummy that of its first child."""
        node = self
        while node.mail is None:
            node = node.children[0]
        return node.mail.date, node.mail.number

    def subject(self) -> tuple[str, bool]:
        node = self if self.mail is not None else self.children[0]
        assert node.mail is not None
        return node.mail.subject, node.mail.reply


def references(mails: Iterable[Mail]) -> list[object]:
    """REFERENCES; ``mails`` in the order of their sequence numbers."""
    roots = _prune(_link(mails))                               # (1) to (3)
    for node in roots:                                         # (4)
        if node.mail is None:
            node.children.sort(key=_Node.key)
    roots.sort(key=_Node.key)
    roots = _merge(roots)                                      # (5)
    return [_lists(node) for node in _sorted(roots)]           # (6)


def _link(mails: Iterable[Mail]) -> list[_Node]:
    """(1) parents and children by message ID; (2) the nodes without a parent."""
    known: dict[bytes, _Node] = {}
    nodes: list[_Node] = []
    for mail in mails:
        node = known.get(mail.own) if mail.own is not None else None
        if node is None or node.mail is not None:
            node = _Node()             # a new ID, none, or one that is taken
            nodes.append(node)
            if mail.own is not None:
                known.setdefault(mail.own, node)
        node.mail = mail
        before: _Node | None = None
        for ref in mail.refs:          # (A)
            there = known.get(ref)
            if there is None:
                there = known[ref] = _Node()
                nodes.append(there)
            if before is not None and there.parent is None:
                before.adopt(there)
            before = there
        if before is None or node.parent is not before:         # (B)
            node.leave()
            if before is not None:
                before.adopt(node)
    return [node for node in nodes if node.parent is None]


def _below(roots: Iterable[_Node]) -> list[_Node]:
    """The nodes of the trees, parents before children."""
    order = list(roots)
    for node in order:                 # grows while it is walked
        order.extend(node.children)
    return order


def _prune(roots: list[_Node]) -> list[_Node]:
    """(3) Dummies go; their children take their place, at the top only a single one."""
    for node in reversed(_below(roots)):
        kept: list[_Node] = []
        for child in node.children:
            if child.mail is not None:
                kept.append(child)
            else:
                kept.extend(child.children)
        node.children = kept
    top: list[_Node] = []
    for node in roots:
        if node.mail is not None or len(node.children) > 1:
            top.append(node)
        else:
            top.extend(node.children)
    return top


def _merge(roots: list[_Node]) -> list[_Node]:
    """(5) Threads of one subject come together."""
    table: dict[str, _Node] = {}
    for node in roots:                 # (B)
        subject, reply = node.subject()
        if not subject:
            continue
        held = table.get(subject)
        if held is None or (held.mail is not None
                            and (node.mail is None or (held.subject()[1] and not reply))):
            table[subject] = node
    gone: set[int] = set()
    dummies: dict[int, _Node] = {}
    for node in roots:                 # (C)
        subject, reply = node.subject()
        held = table.get(subject)
        if held is None or held is node:
            continue
        if held.mail is None and node.mail is None:
            held.children.extend(node.children)
        elif held.mail is None or (reply and node.mail is not None and not held.subject()[1]):
            held.children.append(node)
        else:
            both = _Node()
            both.children = [held, node]
            table[subject] = both
            dummies[id(held)] = both
        gone.add(id(node))
    return [dummies.get(id(node), node) for node in roots if id(node) not in gone]


def _sorted(roots: list[_Node]) -> list[_Node]:
    """(6) Each set of siblings by date, the deepest first."""
    for node in reversed(_below(roots)):
        node.children.sort(key=_Node.key)
    return sorted(roots, key=_Node.key)


def _lists(root: _Node) -> object:
    """The nested lists of one thread."""
    done: dict[int, list[object]] = {}
    for node in reversed(_below([root])):
        tails = [done.pop(id(child)) for child in node.children]
        here: list[object] = [] if node.mail is None else [node.mail.number]
        if len(tails) == 1:
            tails[0][:0] = reversed(here)
            done[id(node)] = tails[0]
        else:
            done[id(node)] = [*here, tails] if tails else here
    return done[id(root)]


def ordered_subject(mails: Iterable[Mail]) -> list[object]:
    """ORDEREDSUBJECT: by base subject, then by date; no grandchildren."""
    groups: dict[str, list[Mail]] = {}
    for mail in sorted(mails, key=lambda mail: (mail.date, mail.number)):
        groups.setdefault(mail.subject, []).append(mail)
    threads: list[object] = []
    for first, *rest in groups.values():           # in the order of their first messages
        if len(rest) == 1:
            threads.append([first.number, rest[0].number])
        else:
            threads.append([first.number, [[mail.number] for mail in rest]] if rest else [first.number])
    return threads


def render(threads: list[object], name: dict[int, int] | None = None) -> bytes:
    """``(1 2)(3 (4)(5))``; ``name``: what a number is called, say its UID."""
    parts: list[bytes] = []
    stack: list[object] = list(reversed(threads))
    while stack:
        item = stack.pop()
        if isinstance(item, bytes):
            parts.append(item)
            continue
        assert isinstance(item, list)
        parts.append(b"(")
        words = [b"%d" % (name[part] if name else part) for part in item if isinstance(part, int)]
        parts.append(b" ".join(words))
        stack.append(b")")
        if item and isinstance(item[-1], list):
            if words:
                parts.append(b" ")
            stack.extend(reversed(item[-1]))
    return b"".join(parts)
