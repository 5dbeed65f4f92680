"""The text of HTML, as a reader sees it, and where its links lead.

Tags of inline elements cut no word; others stand for a blank.  Scripts, styles and
comments are not seen.  What links lead to, where images come from, and the texts of
images, titles and buttons follow the text.  All is bounded, so that a page costs no more than its length.
"""
from __future__ import annotations

import re

# "<" and no letter, "/", "!" or "?" is text (HTML 13.2.5.6)
_TAG = re.compile(r"<([/!?A-Za-z][^<>]*)>")
_NAME = re.compile(r"/?([\w:-]*)", re.A)       # in what _TAG gives
_BLOCKS = frozenset((
    "address", "article", "aside", "audio", "blockquote", "body", "br", "button", "canvas", "caption",
    "center", "col", "colgroup", "dd", "details", "dialog", "dir", "div", "dl", "dt", "embed", "fieldset",
    "figcaption", "figure", "footer", "form", "frame", "frameset", "h1", "h2", "h3", "h4", "h5", "h6", "head",
    "header", "hgroup", "hr", "html", "iframe", "img", "input", "legend", "li", "link", "main", "map", "menu",
    "meta", "nav", "noscript", "object", "ol", "optgroup", "option", "p", "picture", "pre", "script",
    "section", "select", "style", "summary", "svg", "table", "tbody", "td", "textarea", "tfoot", "th",
    "thead", "title", "tr", "ul", "video"))
# elements that lead somewhere, or show a text that is in their tag; of Office, any of three prefixes
_TELLING = frozenset((
    "a", "area", "audio", "base", "button", "embed", "form", "frame", "iframe", "image", "img", "input",
    "link", "object", "source", "video"))
_OFFICE = re.compile(r"[vow]:\w+", re.A)
_HIDES = re.compile(r"<(?:(script|style)(?![a-z])[^<>]*>|!--)", re.I | re.A)
_SHOWS = {"script": re.compile(r"</script(?![a-z])[^<>]*>", re.I | re.A),
          "style": re.compile(r"</style(?![a-z])[^<>]*>", re.I | re.A), "": re.compile(r"--!?>")}
# the first letters let most attributes go at once
_ATTRIBUTE = re.compile(r"""[\s/"':](?=[abcdfhlpstv])(href|src|alt|title|action|data|value|srcset|"""
                        r"""background|cite|poster|formaction|placeholder|label|aria-label)\s*=\s*"""
                        r"""(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.I | re.A)
# in a style, and where a page sends its reader on
_URL = re.compile(r"""(?:url\(|content\s*=\s*(?:["']\s*)?\d{1,9}\s*[;,]\s*url=)\s*["']?([^\s"'()]+)""",
                  re.I | re.A)
_TEXTS = frozenset(("alt", "title", "value", "placeholder", "label", "aria-label"))
_NOT_IN_URLS = {ord(char): None for char in "\t\r\n"}
# a value in quotes that holds what else ends or begins a tag
_HOLDING = re.compile(r"""=\s*(?:"[^"<>]*(?:[<>][^"<>]*){1,4}"|'[^'<>]*(?:[<>][^'<>]*){1,4}')(?=[\s/>])""")
_HIDDEN_ANGLES = str.maketrans("<>", "\ufdd0\ufdd1")            # no characters, so no text has them
_OPEN_VALUE = re.compile(r"""=\s*(?:"[^"]*|'[^']*)\Z""")
_ANGLES = str.maketrans("\ufdd0\ufdd1", "<>")
# numbers that html.unescape would make of more digits than there are characters, or than int() takes
_ZEROS = re.compile(r"(&#)0+(?=[0-9])|(&#[xX])0+(?=[0-9a-fA-F])")
_HUGE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{7,});?")
HIDDEN = 1 << 20                       # characters behind which a script that does not end hides nothing
TOLD = 1 << 20                         # characters of what links lead to
TAG = 1 << 16                          # characters of a tag that the end of a piece may cut, and of an entity
ENTITY = 64                            # characters of an entity, at most
LAST_TAG = 1024                        # characters of the end of a script that a piece may cut


def html_text(text: str) -> str:
    """All of a page."""
    return HtmlDecoder().decode(text, final=True)


class HtmlDecoder:
    """At once or piece by piece.  ``told``: characters of what links lead to, at most."""

    def __init__(self, told: int = TOLD) -> None:
        self._held = ""                # may belong together with what comes
        self._base = 0                 # characters before it
        self._endless = {"script": 0, "style": 0, "": 0}       # up to where no end of it comes
        self._entity = ""
        self._told: list[str] = []
        self._room = told

    def decode(self, text: str, final: bool = False) -> str:
        text = self._held + text
        found: list[str] = []
        at = 0
        while True:
            hides = _HIDES.search(text, at)
            if hides is None:
                end = len(text) if final else _whole_tags(text, at)
                found.append(self._shown(text[at:end]))
                at = end
                break
            found.append(self._shown(text[at:hides.start()]))
            kind = (hides[1] or "").lower()
            limit = hides.end() + HIDDEN
            start = hides.end() if kind else hides.end() - 2       # "<!-->" is a whole comment
            shows = _SHOWS[kind].search(text, max(start, self._endless[kind] - self._base), limit)
            if shows is None:
                cut = 0 if final and limit >= len(text) else LAST_TAG if kind else len("--!>")
                self._endless[kind] = self._base + min(len(text), limit) - cut
                if not final and len(text) < limit:
                    at = hides.start()             # the end may come in the next piece
                    break
            if kind:
                found.append(" ")
            at = hides.end() if shows is None else shows.end()
        self._held, self._base = text[at:], self._base + at
        if final and self._told:
            found.append(" " + " ".join(self._told))
        return self._unescaped("".join(found), final)

    def _shown(self, text: str) -> str:
        if "<" not in text:
            return text
        shown, tags = _apart(text)
        hidden = 0
        if "<" in shown or ">" in shown and any(map(_is_cut, tags)):
            text, hidden = _HOLDING.subn(lambda match: match[0].translate(_HIDDEN_ANGLES), text)
            if hidden:
                shown, tags = _apart(text)
                shown = shown.translate(_ANGLES)
        if self._room > 0:
            for tag, name in tags.items():
                if "=" in tag and (name in _TELLING or _says(tag, name)):
                    self._tell(tag.translate(_ANGLES) if hidden else tag)
        return shown

    def _tell(self, tag: str) -> None:
        """What the attributes of a tag say."""
        found = _ATTRIBUTE.findall(tag)
        if "url" in tag or "URL" in tag:
            found += [("url", url, "", "") for url in _URL.findall(tag)]
        for name, double, single, bare in found:
            told = double or single or bare
            if ("\n" in told or "\t" in told or "\r" in told) and name.lower() not in _TEXTS:
                told = told.translate(_NOT_IN_URLS)            # so browsers do (URL 4.4)
            if not told.startswith(("data:", "cid:")):     # the thing itself, or another part
                self._told.append(told[:self._room])
                self._room -= len(self._told[-1])

    def _unescaped(self, text: str, final: bool) -> str:
        """Entities as characters."""
        from html import unescape
        text, self._entity = self._entity + text, ""
        if not final:
            end = text.rfind("&", max(0, len(text) - ENTITY))
            if end >= 0 and ";" not in text[end:]:
                text, self._entity = text[:end], text[end:]
        if "&#" in text:
            text = _HUGE.sub("\ufffd", _ZEROS.sub(r"\1\2", text))
        return unescape(text.replace("&nbsp;", " ")) if "&" in text else text


def _apart(text: str) -> tuple[str, dict[str, str]]:
    """(text without its tags, tag -> the name of its element in lower case)."""
    pieces = _TAG.split(text)              # text, tag, text, tag, ..., text
    tags = pieces[1::2]
    names = {}
    signs = dict.fromkeys(tags, "")        # a page has many that are the same
    for tag in signs:
        match = _NAME.match(tag)
        names[tag] = name = match[1].lower() if match is not None else ""
        if name in _BLOCKS:
            signs[tag] = " "
    pieces[1::2] = [signs[tag] for tag in tags]
    return "".join(pieces), names


def _says(tag: str, name: str) -> bool:
    """May an element that is not one of _TELLING say something?  Most do not."""
    if name[1:2] == ":" and _OFFICE.fullmatch(name) is not None:
        return True
    tag = tag.lower()
    return "title" in tag or "url" in tag or "background=" in tag or "cite=" in tag or "label" in tag


def _is_cut(tag: str) -> bool:
    """Does it end, or begin, in a value in quotes?"""
    return bool(tag.count('"') & 1 or tag.count("'") & 1)


def _whole_tags(text: str, start: int) -> int:
    """The end of ``text``, or where a tag begins that may go on behind it."""
    at = text.rfind("<", max(start, len(text) - TAG))
    if at >= 0 and (text.find(">", at) < 0 or _OPEN_VALUE.search(text, at)):
        return at
    return len(text)
