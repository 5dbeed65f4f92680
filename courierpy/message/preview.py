"""The beginning of what somebody wrote, for a list of messages.  RFC 8970 3.3.

Of HTML what a reader sees; without what is quoted, signatures, rules and padding.  Where there is nothing
else, what is quoted is told after all.  Nothing of what is encrypted.  A message costs no more than its
first parts of text, and of those no more than READ_CHARS.
"""
from __future__ import annotations

import re

from courierpy.message import parameters, streamed
from courierpy.message.flowed import FlowedDecoder
from courierpy.message.htmltext import HtmlDecoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.message.mime import Part

MOST = 200                             # characters that are told
READ_CHARS = 1 << 18                   # of a part
STEP_CHARS = 1 << 14                   # that are looked at together; of the beginning fewer
FIRST_CHARS = 1 << 9
ENCRYPTED = ((b"multipart", b"encrypted"), (b"application", b"pkcs7-mime"),
             (b"application", b"x-pkcs7-mime"))

_PAGE = re.compile(r"\s*<(?:!doctype\s+html|html|head|body|style|div|table|p|meta|br)\b", re.I)
_HEAD_ENDS = re.compile(r"</head\s*>|<body\b", re.I)
_QUOTE_TAG = re.compile(r"<(/?)blockquote\b[^<>]*>", re.I)
# what follows is the message that is answered
_ANSWERED_PAGE = re.compile(r"""<(?:div|hr)\b[^<>]*\b(?:class|id)\s*=\s*["']?"""
                            r"""(?:gmail_quote|moz-cite-prefix|yahoo_quoted|divRplyFwdMsg|appendonsend)\b""",
                            re.I)
_ANSWERED = re.compile(r"(?:-{2,} ?(?:original message|urspr\xfcngliche nachricht|message d'origine|"
                       r"mensaje original|messaggio originale) ?-{2,})\s*\Z", re.I)
_SIGNED = re.compile(r"\A\s*-----BEGIN PGP SIGNED MESSAGE-----\n(?:[^\n]+\n){0,9}\n")
_PGP = "-----BEGIN PGP MESSAGE-----"
_INTRODUCES = re.compile(r"\S.{0,300}:\s*\Z")
_RULE = re.compile(r"[-=_*~#+.\u2014\u2015\u2500\u2501]{4,}")
# fills the lists of clients behind a text of one line
_PADDING = re.compile("(?: ?[\u034f\u200b\u200c\u200e\u200f\u2800\u00ad\ufeff]){2,}|"
                      "[\u00ad\ufeff\u034f\u200b]")
_BREAK = re.compile(r"\n|(?<=[\w.,;:!?])\s(?=\w)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def preview(root: Part) -> str:
    """At most MOST characters, in one line; "" where there is nothing to be told."""
    quoted = ""
    for part in _texts(root):
        own, others = _told(part)
        if own:
            return own
        quoted = quoted or others
    return quoted


def _texts(root: Part) -> Iterator[Part]:
    """The parts of text that may begin it, the best first; none where the message is encrypted."""
    stack = [root]
    while stack:
        part = stack.pop()
        if (part.kind, part.subkind) in ENCRYPTED:
            return
        if part.multipart:
            children = part.children
            if part.subkind == b"alternative":         # the plain one first
                children = sorted(children, key=lambda each: (each.kind, each.subkind) != (b"text", b"plain"))
            stack += reversed(children)
        elif part.message is not None:
            stack.append(part.message)
        elif part.kind == b"text" and not _is_attached(part) and part.subkind != b"calendar":
            yield part


def _is_attached(part: Part) -> bool:
    value = part.field(b"content-disposition") or b""
    return value.partition(b";")[0].strip().lower() == b"attachment"


def _told(part: Part) -> tuple[str, str]:
    """(what was written, what was quoted where that is all) in a part."""
    pieces, size = [], 0
    for piece in streamed.characters(part):
        pieces.append(piece)
        size += len(piece)
        if size >= READ_CHARS:
            break
    text = "".join(pieces)[:READ_CHARS]
    if part.subkind == b"html" or _PAGE.match(text):
        return _of_page(text)
    if parameters.find(part.params, b"format").lower() == b"flowed":
        delsp = parameters.find(part.params, b"delsp").lower() == b"yes"
        text = FlowedDecoder(delsp).decode(text, final=True)
    return _of_text(text.replace("\r\n", "\n"))


def _of_page(text: str) -> tuple[str, str]:
    head = _HEAD_ENDS.search(text)
    if head is not None:
        text = text[head.start():]
    answered = _ANSWERED_PAGE.search(text)
    behind = ""
    if answered is not None:
        text, behind = text[:answered.start()], text[answered.start():]
    own, quoted = _quotes(text)
    shown = _shown(own)
    return shown, "" if shown else _shown(quoted + behind)


def _quotes(text: str) -> tuple[str, str]:
    """(what stands outside of quotes, what stands in them) in a page."""
    found: tuple[list[str], list[str]] = [], []
    depth = at = 0
    for tag in _QUOTE_TAG.finditer(text):
        found[depth > 0].append(text[at:tag.start()])
        at = tag.end()
        depth = max(0, depth - 1) if tag[1] else depth + 1
    found[depth > 0].append(text[at:])
    return "<p>".join(found[0]), "<p>".join(found[1])


def _shown(text: str) -> str:
    return _line(HtmlDecoder(told=0).decode(text, final=True))


def _of_text(text: str) -> tuple[str, str]:
    if _PGP in text[:4096]:
        return "", ""
    signed = _SIGNED.match(text)
    if signed is not None:
        text = text[signed.end():]
    own: list[str] = []
    quoted: list[str] = []
    size, enough = 0, FIRST_CHARS
    for line in text.split("\n"):
        size += len(line)
        # no quote that follows takes two lines away which introduce nothing
        if size > enough and _stays(own[-2:]):
            told = _line("\n".join(own))
            if len(told) == MOST:
                return told, ""
            size, enough = 0, 2 * enough
        if line == "-- " or _ANSWERED.match(line.strip()):
            break                      # the signature, or all that is answered
        if not line.startswith(">"):
            own.append(line)
            continue
        quoted.append(line.lstrip("> "))
        while own and not own[-1].strip():
            own.pop()
        if own and _INTRODUCES.match(own[-1].strip()):         # "On Monday Ann wrote:", in one line or two
            own.pop()
            if own and own[-1].strip() and (len(own) == 1 or not own[-2].strip()) and len(own[-1]) > 40:
                own.pop()
    told = _line("\n".join(own))
    return told, "" if told else _line("\n".join(quoted))


def _stays(lines: list[str]) -> bool:
    """Are these two, with a text, and introduce no quote?"""
    return len(lines) == 2 and all(line.strip() and not _INTRODUCES.match(line.strip()) for line in lines)


def _line(text: str) -> str:
    """One line of it, cut."""
    line = ""
    # a page of padding is not gone over as a whole where its beginning is enough
    start, step = 0, FIRST_CHARS
    while start < len(text) and len(line) <= MOST:
        # between two words, where there are any
        end = _BREAK.search(text, start + step, start + step + STEP_CHARS)
        piece = text[start:end.end() if end is not None else start + step + STEP_CHARS]
        shown = " ".join(_RULE.sub(" ", _CONTROLS.sub(" ", piece)).split())
        line = " ".join((line + _PADDING.sub(" ", shown)).split()) + " " * piece[-1:].isspace()
        start, step = start + len(piece), STEP_CHARS
    return line[:MOST].strip()
