"""Charsets as mail names them: from a label to the text of the octets.

Labels are those of the web (WHATWG Encoding 4.2), the aliases of Python's codecs, and
what mail has besides (the names of IANA, Microsoft, IBM and Apple).  A label means the
superset that its senders use, as it does for browsers and mail readers: ISO-8859-1 is
windows-1252, GB2312 is GB 18030.  What a label can lead to is listed here: Python has
codecs that are no charsets, too, and some of those are slow.
"""
from __future__ import annotations

import codecs
import re
from functools import lru_cache
from sys import byteorder

from courierpy.message import eastasian, eightbit
from courierpy.message.eastasian import ESCAPE, ISO_2022

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Decoder: TypeAlias = ("codecs.IncrementalDecoder | eastasian.EastAsianDecoder | eastasian.Iso2022Decoder"
                          " | eightbit.Decoder | _MarkedDecoder | _Utf7Decoder")

ASCII, UTF_8 = "ascii", "utf-8"    # these two and ISO 2022 need no table of the library
SHIFTED_OCTETS = 1 << 16           # of UTF-7; behind so many a character may be cut
LONGEST = 100                      # characters of a label that is looked up
# all that a label can lead to besides
CODECS = frozenset((
    "big5hkscs", "cp037", "cp1006", "cp1026", "cp1125", "cp1140", "cp1250", "cp1251", "cp1252", "cp1253",
    "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp273", "cp424", "cp437", "cp500", "cp720", "cp737",
    "cp775", "cp850", "cp852", "cp855", "cp856", "cp857", "cp858", "cp860", "cp861", "cp862", "cp863",
    "cp864", "cp865", "cp866", "cp869", "cp874", "cp875", "cp932", "cp949", "euc_jis_2004", "euc_jp",
    "gb18030", "hp_roman8", "hz", "iso8859_10", "iso8859_13", "iso8859_14", "iso8859_15", "iso8859_16",
    "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5", "iso8859_6", "iso8859_7", "iso8859_8", "johab",
    "koi8_r", "koi8_t", "koi8_u", "kz1048", "mac_arabic", "mac_croatian", "mac_cyrillic", "mac_farsi",
    "mac_greek", "mac_iceland", "mac_latin2", "mac_roman", "mac_romanian", "mac_turkish", "ptcp154",
    "shift_jis_2004", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_7"))
# of these, those in which each octet is a letter, whatever stands beside it
_EIGHT_BIT = CODECS - eastasian.CODECS - eastasian.SECOND - {
    "cp949", "hz", "johab", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_7"}
# in these, octets below 128 are not, or not always, the letters of ASCII
_NOT_ASCII = frozenset((
    "cp037", "cp1026", "cp1140", "cp273", "cp424", "cp500", "cp864", "cp875", "hz", "shift_jis_2004",
    "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_7")) | {ISO_2022}
# another codec of Python -> what reads its texts, and those of its superset
_SUPERSET = {
    "ascii": ASCII, "latin_1": "cp1252", "iso8859_1": "cp1252", "iso8859_9": "cp1254", "iso8859_11": "cp874",
    "tis_620": "cp874", "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932",
    "big5": "big5hkscs", "cp950": "big5hkscs", "euc_jisx0213": "euc_jis_2004",
    "shift_jisx0213": "shift_jis_2004", "utf_8": UTF_8, "utf_8_sig": UTF_8, "iso2022_jp": ISO_2022,
    "iso2022_jp_1": ISO_2022, "iso2022_jp_2": ISO_2022, "iso2022_jp_2004": ISO_2022, "iso2022_jp_3": ISO_2022,
    "iso2022_jp_ext": ISO_2022, "iso2022_kr": ISO_2022}
# what neither the web nor Python has, and what means more in mail; as ``_key`` gives it
_MAIL = {
    **dict.fromkeys(("ansi", "iso8859", "windows31latin1", "isolatin1", "decmcs"), "cp1252"),
    "latin0": "iso8859_15",
    **dict.fromkeys(("ia5", "ascii7bit"), ASCII),
    **dict.fromkeys(("msansi", "os2latin1"), "cp1252"), "msee": "cp1250", "mscyrl": "cp1251",
    "msgreek": "cp1253",
    **dict.fromkeys(("msturk", "ecma128", "ts5881"), "cp1254"), "mshebr": "cp1255", "msarab": "cp1256",
    **dict.fromkeys(("winbaltrim", "windowsbaltic"), "cp1257"), "msviet": "cp1258",
    **dict.fromkeys(("baltic", "isoir179"), "iso8859_13"), "isoir203": "iso8859_15",
    **dict.fromkeys(("isoir139", "csn369103"), "iso8859_2"),
    **dict.fromkeys(("hproman9", "roman9", "r9"), "hp_roman8"),
    **dict.fromkeys(("thai8", "hpthai8"), "cp874"), "pc858multilingual": "cp858",
    # letters of Russian where KOI-8 has them
    **dict.fromkeys(("isoir111", "iso111ecmacyrillic", "ecmacyrillic", "koi8e"), "koi8_u"),
    **dict.fromkeys(("isoir153", "iso153gost1976874", "gost19768", "gost1976874", "stsev35888"), "iso8859_5"),
    "pcmultilingual850euro": "cp858", "ebcdicus37euro": "cp1140",
    # as a sequence of surrogates, each of what is beyond the first plane
    "cesu8": UTF_8, "utf8mac": UTF_8, "utf8strict": UTF_8, "utf8mb3": UTF_8, "utf8mb4": UTF_8, "utf8n": UTF_8,
    "utf8bom": UTF_8,
    # a mark at the beginning may say that it is the other one
    **dict.fromkeys(("unicode", "ucs2", "iso10646ucs2"), "utf_16"),
    **dict.fromkeys(("ucs4", "iso10646ucs4"), "utf_32"),
    **dict.fromkeys(("unicode11utf7", "unicode20utf7"), "utf_7"),
    **dict.fromkeys(("ucs2be", "unicodebig"), "utf_16_be"),
    **dict.fromkeys(("ucs2le", "unicodelittle"), "utf_16_le"),
    "ucs4be": "utf_32_be", "ucs4le": "utf_32_le",
    **dict.fromkeys(("866nav", "cp866nav", "ibm866nav"), "cp1125"), "koi": "koi8_r",
    **dict.fromkeys(("tactis", "tis6202533", "tis62025331"), "cp874"),
    **dict.fromkeys(("gb", "zhcn", "gb2312charset", "gb13000", "gb23121980", "gb180302000", "gb180302005",
                     "gb180302022", "eucgb2312cn", "cngb", "macchinesesimp", "macgb2312", "gb231219800"),
                    "gb18030"),
    **dict.fromkeys(("iso2022cn", "iso2022cnext", "iso2022", "jis", "iso2022jpms"), ISO_2022),
    **dict.fromkeys(("big5eten", "big5plus", "big52003", "bigfive", "macchinesetrad", "macbig5", "big5hk"),
                    "big5hkscs"),
    **dict.fromkeys(("eucjpms", "eucjpwin", "eucjpopen", "ibmeucjp",
                     "extendedunixcodepackedformatforjapanese"), "euc_jp"),
    "euccn": "gb18030",
    **dict.fromkeys(("sjisopen", "sjiswin", "macjapanese"), "cp932"),
    **dict.fromkeys(("ksc5601", "ksc56011992", "ksc560119870", "ksx1001", "wansung", "hangul", "mackorean"),
                    "cp949"),
    **dict.fromkeys(("macroman", "applemacintosh", "macosroman"), "mac_roman"),
    **dict.fromkeys(("macce", "maccentraleurroman", "maccentraleurope", "maccentraleuropean"), "mac_latin2"),
    **dict.fromkeys(("macukrainian", "macuk", "msmaccyrillic"), "mac_cyrillic"),
    **dict.fromkeys(("macicelandic", "macis"), "mac_iceland"), "macromania": "mac_romanian",
    "machebrew": "cp1255", "macthai": "cp874"}
# numbers of code pages (Microsoft's; IBM's CCSIDs) that are not in the name of the codec
_PAGES = {
    **dict.fromkeys((367, 20127), ASCII), **dict.fromkeys((1208, 65001), UTF_8), 65000: "utf_7",
    1200: "utf_16_le", 1201: "utf_16_be", 12000: "utf_32_le", 12001: "utf_32_be",
    **dict.fromkeys((819, 28591), "cp1252"), **dict.fromkeys((920, 28599), "cp1254"),
    **{28590 + part: f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    912: "iso8859_2", 913: "iso8859_3", 914: "iso8859_4", 915: "iso8859_5", 1089: "iso8859_6",
    813: "iso8859_7", 916: "iso8859_8", 38598: "iso8859_8", 919: "iso8859_10", 921: "iso8859_13",
    923: "iso8859_15",
    **{5346 + part: f"cp{1250 + part}" for part in range(9)}, 4909: "iso8859_7",       # with the euro
    9448: "cp1256", **dict.fromkeys((902, 922, 1004), "cp1252"), 901: "iso8859_13", 1124: "iso8859_5",
    **dict.fromkeys((1129, 1163), "cp1258"), 851: "cp869", 1282: "mac_latin2",
    848: "cp1125", 154: "ptcp154", **dict.fromkeys((878, 20866), "koi8_r"),
    **dict.fromkeys((1167, 1168, 21866), "koi8_u"), **dict.fromkeys((1161, 1162, 9066, 10021), "cp874"),
    **dict.fromkeys((942, 943, 10001), "cp932"), **dict.fromkeys((954, 20932, 33722, 51932), "euc_jp"),
    **dict.fromkeys((936, 1381, 1383, 1386, 1392, 5488, 10008, 20936, 51936, 54936), "gb18030"), 52936: "hz",
    **dict.fromkeys((950, 951, 1370, 1375, 10002), "big5hkscs"), 1361: "johab",
    **dict.fromkeys((970, 1363, 10003, 20949, 51949), "cp949"),
    **dict.fromkeys((50220, 50221, 50222, 50225, 50227), ISO_2022),
    10000: "mac_roman", 10004: "mac_arabic", 10005: "cp1255", 10006: "mac_greek", 10007: "mac_cyrillic",
    10010: "mac_romanian", 10017: "mac_cyrillic", 10029: "mac_latin2", 10079: "mac_iceland",
    10081: "mac_turkish", 10082: "mac_croatian"}
_PAGE = re.compile(r"(?:ibm|cp|ms|windows|win|dos|pc|ccsid|codepage)*(\d{2,5})")
_ISO_8859 = re.compile(r"(?:iso)?8859(1[0-6]|[1-9])(?:[ei]|\d{4}|windows.*)?")
_MEANT = re.compile(r"[^\s;,/\"'()=]+")         # of a label with something beside it: "utf-8; format=flowed"
_LINE_ENDS = re.compile(r"[-_](?:unix|dos|mac)\Z")            # as Emacs names them
_CUT = re.compile(r"[^a-z0-9]+|(?<![0-9])0+(?=[0-9])")
_MARKS = {"utf_16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
          "utf_32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)}
# what most mail is in: a session that sees no other makes no table
_USUAL = {"utf-8": UTF_8, "us-ascii": ASCII, "iso-8859-1": "cp1252", "windows-1252": "cp1252",
          "iso-8859-15": "iso8859_15"}


def charset_text(octets: bytes, label: str) -> str:
    """Octets of a charset as text.  US-ASCII, no label and one that nobody knows are ISO 2022 or UTF-8
    where the octets are, else windows-1252.  What is no character becomes U+FFFD."""
    codec = label and find(label) or ASCII
    if codec == ASCII and ESCAPE in octets and eastasian.is_iso_2022(octets):
        codec = ISO_2022
    if codec == ASCII:
        try:
            return octets.decode()
        except UnicodeDecodeError:
            codec = "cp1252"
    if codec in _EIGHT_BIT:
        return eightbit.read(octets, codec)
    return eastasian.read(octets, codec) if codec in eastasian.CODECS else octets.decode(codec, "replace")


def decoder(codec: str) -> Decoder:
    """What reads a text piece by piece; ``codec`` as ``find`` gives it."""
    if codec in _EIGHT_BIT:
        return eightbit.Decoder(codec)
    if codec == ISO_2022:
        return eastasian.Iso2022Decoder()
    if codec in eastasian.CODECS:
        return eastasian.EastAsianDecoder(codec)
    if codec in _MARKS:
        return _MarkedDecoder(codec)
    if codec == "utf_7":
        return _Utf7Decoder()
    return codecs.getincrementaldecoder(codec)("replace")


class _MarkedDecoder:
    """UTF-16 and UTF-32, whose byte order the beginning may tell."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._decoder: Decoder | None = None
        self._held = b""

    def decode(self, octets: bytes, final: bool = False) -> str:
        if self._decoder is None:
            self._held += octets
            if len(self._held) < 4 and not final:
                return ""
            # without a mark, as one that is decoded at once
            marked = self._held.startswith(_MARKS[self._codec])
            order = "" if marked else "_le" if byteorder == "little" else "_be"
            self._decoder = codecs.getincrementaldecoder(self._codec + order)("replace")
            octets, self._held = self._held, b""
        return self._decoder.decode(octets, final)


class _Utf7Decoder:
    """UTF-7, of which the library holds all that is shifted until it ends."""

    def __init__(self) -> None:
        self._held = b""               # from the plus on that begins it

    def decode(self, octets: bytes, final: bool = False) -> str:
        octets = self._held + octets
        text, read = codecs.utf_7_decode(octets, "replace", final)
        self._held = octets[read:]
        if len(self._held) > SHIFTED_OCTETS:
            # eight letters are three characters; so it can be ended and begun again
            end = 1 + (len(self._held) - 1) // 8 * 8
            text += self._held[:end].decode("utf_7", "replace")
            self._held = b"+" + self._held[end:]
        return text


def find(label: str) -> str | None:
    """The codec for a label: one of CODECS, ASCII, UTF_8 or ISO_2022; None where none is known."""
    usual = _USUAL.get(label)
    if usual is None and label and len(label) <= LONGEST:
        return _find(label.lower())
    return usual


def holds_ascii(label: str) -> bool:
    """Are octets below 128, wherever they stand alone, the letters of ASCII in this charset?"""
    return find(label) not in _NOT_ASCII


@lru_cache(256)
def _find(label: str) -> str | None:
    if label in _USUAL:
        return _USUAL[label]
    meant = _LINE_ENDS.sub("", label)
    for name in (label, meant, *_MEANT.findall(meant)):
        found = _named(_key(name), _table())
        if found is not None:
            return found
    return None


def _key(label: str) -> str:
    """What labels are compared by: letters and digits, without leading zeros (UTS 22 1.4)."""
    return _CUT.sub("", label.lower())


def _named(key: str, known: dict[str, str]) -> str | None:
    """The codec for a key that stands in a table, or that a number is to be read of."""
    for prefix in ("", "x", "cs", "charset"):
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix):]
        if rest in known:
            return known[rest]
        if part := _ISO_8859.fullmatch(rest):
            return known.get("iso8859" + part[1])
        if page := _PAGE.fullmatch(rest):
            name = f"cp{int(page[1]):03}"
            return name if name in CODECS else _PAGES.get(int(page[1]))
    return None


@lru_cache(1)
def _table() -> dict[str, str]:
    """Key -> codec."""
    from encodings.aliases import aliases

    from webencodings.labels import LABELS
    codec = {**{name: name for name in CODECS}, **_SUPERSET}
    python = {_key(alias): codec[name] for alias, name in aliases.items() if name in codec}
    python.update((_key(name), found) for name, found in codec.items())
    web = {_key(label): _named(_key(name), {**python, **_MAIL}) for label, name in LABELS.items()}
    return {**{key: found for key, found in web.items() if found is not None}, **python, **_MAIL}


def known() -> list[bytes]:
    """A label of each charset that is known, the usual ones first; what they are supersets of, too."""
    from webencodings.labels import LABELS
    usual = ["UTF-8", "US-ASCII", "ISO-8859-1"]
    others = {*LABELS.values(), *_SUPERSET, *CODECS} - {"ascii", "latin_1", "utf_8", "utf_8_sig"}
    labels = {name.upper().replace("_", "-").replace("ISO8859", "ISO-8859").replace("ISO2022", "ISO-2022")
              for name in others if find(name) is not None}
    return [label.encode() for label in usual + sorted(labels - {*usual})]


def load() -> None:
    """All that a label can lead to, for a process that may not be able to read the library later."""
    _table()
    eightbit.load(sorted(_EIGHT_BIT))
    for codec in sorted((CODECS | eastasian.SECOND) - _EIGHT_BIT):
        codecs.lookup(codec)
