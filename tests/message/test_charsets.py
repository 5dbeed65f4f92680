"""What mail calls its charsets, and that nothing else is one."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webencodings.labels import LABELS

from courierpy.message import charsets, decode, eastasian, eightbit
from courierpy.message.charsets import charset_text
from courierpy.message.message import Message
from courierpy.system import proc
from tests.conftest import plain_environ
from tests.message.searched import in_body

# label | codec of the sender | text
READ = [line.split(" | ") for line in """
gb2312 | gb18030 | 朱镕基
GBK | gb18030 | €
gbk | gb18030 | 㐀
euc-kr | cp949 | 똠방각하
ks_c_5601-1987 | cp949 | 햏
shift_jis | cp932 | 髙橋①
iso-8859-1 | cp1252 | “€”
us-ascii | cp1252 | naïve – €
- | cp1252 | naïve
iso-8859-9 | cp1254 | ğ “x”
iso-8859-11 | cp874 | สวัสดี
tis-620 | cp874 | “สวัสดี”
big5 | big5hkscs | 碁銹裏
big5 | cp950 | €
big5 | big5hkscs | 喺度
us-ascii | utf-8 | café
- | utf-8 | 日本
x-unknown | utf-8 | слово
tcvn5712-1 | utf-8 | tiếng Việt
unknown-8bit | cp1252 | é
ANSI_X3.4-1968 | utf-8 | où
default | utf-8 | ö
iso-8859-8-i | iso8859_8 | שלום
iso-8859-8-e | iso8859_8 | שלום
logical | iso8859_8 | שלום
iso-8859-8 | cp1255 | שָׁלוֹם
iso-8859-6-i | iso8859_6 | سلام
csISOLatinHebrew | iso8859_8 | שלום
x-sjis | cp932 | 日本語
ms-ee | cp1250 | žluťoučký
ms-cyrl | cp1251 | слово
ms-greek | cp1253 | λόγος
ms-turk | cp1254 | ışığı
ms-hebr | cp1255 | שלום
ms-arab | cp1256 | سلام
winbaltrim | cp1257 | žąsis
ISO-IR-111 | koi8_u | слово
csISO111ECMACyrillic | koi8_u | слово
ISO_8859-5:1988 | iso8859_5 | слово
GOST_19768-74 | iso8859_5 | слово
mac-uk | mac_cyrillic | слово
cp866nav | cp1125 | слово
IBM-1167 | koi8_u | слово
hp-roman9 | hp_roman8 | é
hp-thai8 | cp874 | สวัสดี
UCS-2BE | utf_16_be | é
UNICODELITTLE | utf_16_le | é
cn-gb | gb18030 | 测试
euc-jp-open | euc_jp | 日本
x-gbk | gb18030 | 测试
x-euc-jp | euc_jp | 日本
cp-850 | cp850 | é
IBM850 | cp850 | ñ
ibm-852 | cp852 | ł
IBM00858 | cp858 | €
cp00437 | cp437 | é
CCSID00858 | cp858 | €
dos-866 | cp866 | слово
ibm037 | cp037 | Hello
ibm943 | cp932 | 日本
windows-874 | cp874 | สวัสดี
windows-31j | cp932 | ①
windows-949 | cp949 | 한
windows-936 | gb18030 | 中
x-windows-950 | big5hkscs | 中
win-1251 | cp1251 | слово
windows1250 | cp1250 | ž
windows-65001 | utf-8 | ž
windows-28592 | iso8859_2 | ž
cp1252 | cp1252 | é
x-cp1253 | cp1253 | ω
cp51932 | euc_jp | 日本
ms936 | gb18030 | 中
gb_2312-80 | gb2312 | 中文
csGB2312 | gb2312 | 中文
EUC-CN | gb2312 | 中文
hz-gb-2312 | hz | 中文
x-mac-ce | mac_latin2 | Łódź
x-mac-centraleurroman | mac_latin2 | ž
x-mac-roman | mac_roman | ü
macintosh | mac_roman | é
x-mac-greek | mac_greek | ω
x-mac-turkish | mac_turkish | ğ
x-mac-icelandic | mac_iceland | ð
x-mac-romanian | mac_romanian | ș
x-mac-ukrainian | mac_cyrillic | ї
x-mac-croatian | mac_croatian | đ
x-mac-japanese | cp932 | 日本
x-mac-korean | cp949 | 한
koi8-ru | koi8_u | привіт
KOI8-R | koi8_r | привет
cskoi8r | koi8_r | да
PTCP154 | ptcp154 | ә
unicode-1-1-utf-7 | utf_7 | 日本
x-unicode-2-0-utf-7 | utf_7 | é
utf-7 | utf_7 | é
UTF-16 | utf_16 | 日本
unicode | utf_16_le | 日本
utf-16be | utf_16_be | 日
utf8 | utf-8 | é
x-utf-8 | utf-8 | é
unicode-1-1-utf-8 | utf-8 | é
cp65001 | utf-8 | é
utf8mb4 | utf-8 | é
iso_8859-1:1987 | latin-1 | é
8859-2 | iso8859_2 | ž
ISO8859-15 | iso8859_15 | €
iso 8859-5 | iso8859_5 | да
latin-2 | iso8859_2 | ž
l10 | iso8859_16 | ș
iso-ir-101 | iso8859_2 | ž
x-iso-8859-7 | iso8859_7 | ω
iso-8859-08 | iso8859_8 | ש
"koi8-r" | koi8_r | да
'utf-8' | utf-8 | é
utf-8; format=flowed | utf-8 | é
koi8-r, | koi8_r | да
johab | johab | 한
GB2312_CHARSET | gb18030 | 中文
Extended_UNIX_Code_Packed_Format_for_Japanese | euc_jp | 日本
csWindows31Latin1 | cp1252 | é
tis620.2533 | cp874 | สวัสดี
PC-Multilingual-850+euro | cp858 | €
ebcdic-us-37+euro | cp1140 | €
CESU-8 | utf-8 | é
x-IA5 | utf-8 | é
latin-0 | iso8859_15 | €
euc-jp | cp932 | ①㈱髙﨑
euc-jp | euc_jp | 丂
iso-2022-jp | iso2022_jp | 日本語
csISO2022JP | iso2022_jp | 日本
iso-2022-jp | iso2022_jp_ext | ｱｲｳ
iso-2022-jp-1 | iso2022_jp_1 | 丂
iso-2022-jp-2 | iso2022_jp_2 | 中한é
iso-2022-jp-3 | iso2022_jp_3 | ①
cp50220 | iso2022_jp | 日本
shift_jis | shift_jis_2004 | 𠮟
iso-2022-kr | iso2022_kr | 한국어
Western (ISO-8859-15) | iso8859_15 | €
charset = koi8-r | koi8_r | да
iso-latin-1 | cp1252 | é
20866 | koi8_r | да
65001 | utf-8 | é
ibm-5348 | cp1252 | €
ibm-5347 | cp1251 | да
utf-8-unix | utf-8 | é
iso-2022-jp-dos | iso2022_jp | 日本
gb2312.1980-0 | gb18030 | 中文
ksc5601.1987-0 | cp949 | 한국
ibm-eucJP | euc_jp | 丂
big5hk | big5hkscs | 中
DEC-MCS | cp1252 | é
""".strip().splitlines()]


def octets(text: str, codec: str, label: str) -> bytes:
    """``text`` as a sender makes it; letters of code page 932 in EUC by their place."""
    if codec == "cp932" and label.startswith("euc"):
        pairs = []
        for letter in text:
            lead, trail = letter.encode(codec)
            lead = (lead - (0x81 if lead < 0xA0 else 0xC1)) * 2 + 0x21 + (trail >= 0x9F)
            trail -= 0x7E if trail >= 0x9F else 0x20 if trail >= 0x80 else 0x1F
            pairs.append(bytes((lead + 0x80, trail + 0x80)))
        return b"".join(pairs)
    return text.encode(codec)


@pytest.mark.parametrize(("label", "codec", "text"), READ)
def test_labels(label: str, codec: str, text: str) -> None:
    assert charset_text(octets(text, codec, label), label) == text


def test_iso_2022_jp_with_letters_of_necs_row_13() -> None:
    pairs = octets("①㈱髙", "cp932", "euc-jp").translate(bytes(code & 0x7F for code in range(256)))
    assert charset_text(b"No. \x1b$B" + pairs + b"\x1b(B end", "iso-2022-jp") == "No. ①㈱髙 end"
    assert charset_text(b"\x1b$B" + pairs + b"\nplain", "ISO-2022-JP") == "①㈱髙\nplain"


def test_iso_2022_kr_and_cn() -> None:
    assert charset_text("\n한국 x".encode("iso2022_kr"), "iso-2022-kr") == "\n한국 x"
    chinese = bytes(code & 0x7F for code in "中文".encode("gb2312"))
    assert charset_text(b"\x1b$)A\x0e" + chinese + b"\x0f x", "iso-2022-cn") == "中文 x"


@pytest.mark.parametrize("label", [
    "punycode", "punycode-", "PUNYCODE", "idna", "uu", "zlib", "bz2", "rot13", "rot_13", "hex", "base64",
    "quopri", "raw_unicode_escape", "raw-unicode-escape", "unicode_escape", "unicode-escape", "undefined",
    "charmap", "mbcs", "oem", "unicode_internal", "string_escape", "aliases", "encodings", "os", "../x",
    "a" * 10_000, "\0", "-", "ä"])
def test_codecs_that_are_no_charsets(label: str) -> None:
    assert charsets.find(label) is None
    assert charset_text("\\u0041 xn--a-é".encode(), label) == "\\u0041 xn--a-é"


def test_all_labels_of_the_web() -> None:
    """Each leads where the charset that it means leads; US-ASCII may be more."""
    more = {"replacement", "utf-16le", "x-user-defined"}
    for label, name in LABELS.items():
        if name not in more and charsets.find(label) != charsets.ASCII:
            assert charsets.find(label) == charsets.find(name) is not None, label


def test_what_a_refusal_lists_is_known() -> None:
    labels = [label.decode() for label in charsets.known()]
    assert labels[:3] == ["UTF-8", "US-ASCII", "ISO-8859-1"]
    assert {"GB2312", "SHIFT-JIS", "KOI8-R", "WINDOWS-1251", "ISO-2022-JP"} <= {*labels}
    assert [label for label in labels if charsets.find(label) is None] == []
    assert len({*labels}) == len(labels)


@pytest.mark.parametrize("codec", sorted(charsets.CODECS))
def test_where_ascii_is_itself(codec: str) -> None:
    every = bytes(range(128))
    assert (every.decode(codec, "replace") == every.decode()) == charsets.holds_ascii(codec)


@given(st.sampled_from(sorted(charsets.CODECS | {"", "utf-8", eastasian.ISO_2022})), st.binary(max_size=60))
@settings(max_examples=300)
def test_any_octets_are_some_text(codec: str, data: bytes) -> None:
    charset_text(data, codec).encode("utf-8", "surrogatepass")


@given(st.sampled_from(sorted(charsets.CODECS | {"utf-8", eastasian.ISO_2022})),
       st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"\x1b$B", b"\x1b(B", b"\x1b", b"$B", b"\x0e", b"\x0f",
                                 b"\x1bN", b"!!", b"\x81", b"\xa3\xe1", b"\xad\xe2", b"\xff\xfe", b"+AGE-",
                                 b"~{", b"~}"])
                | st.binary(max_size=3), max_size=12), st.lists(st.integers(0, 40), max_size=3))
@settings(max_examples=400)
def test_a_text_in_pieces(codec: str, parts: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(parts)
    decoder, text, at = charsets.decoder(codec), "", 0
    for cut in sorted(cut for cut in cuts if cut < len(whole)):
        text, at = text + decoder.decode(whole[at:cut]), cut
    assert text + decoder.decode(whole[at:], True) == charset_text(whole, codec)


@pytest.mark.parametrize("codec", sorted(charsets._EIGHT_BIT))
def test_a_letter_an_octet_as_the_library_has_it(codec: str) -> None:
    data = eightbit.OCTETS + eightbit.OCTETS[::-1]
    assert charset_text(data, codec) == data.decode(codec, "replace")
    assert {len(bytes((octet,)).decode(codec, "replace")) for octet in eightbit.OCTETS} == {1}


def test_what_is_no_text_costs_no_more_than_text() -> None:
    """A letter that nobody has is asked for a thousand times, not a million times."""
    for codec in eastasian.CODECS:
        data = b"\xff\x81" * 500_000
        assert set(charset_text(data, codec)) <= {"\ufffd", "\uf8f3", "\x81", "ﾁ"}


# -- encoded words

WORDS = [
    # a letter, or its base64, is cut between two
    (b"=?utf-8?B?5pel5pys6A==?= =?utf-8?B?qp4=?=", "日本語"),
    (b"=?UTF-8?Q?caf=C3?=\r\n =?utf-8?Q?=A9?= x", "café x"),
    (b"=?utf-8?B?5pel5p?= =?utf-8?B?ys6Kqe?=", "日本語"),
    (b"=?utf-8?Q?=E6=97?= =?utf8?B?pQ==?= =?x-utf-8*ja?q?!?=", "日!"),
    (b"=?gb2312?B?1tA=?= =?gbk?B?zsQ=?=", "中文"),
    (b"=?shift_jis?B?k/o=?= =?x-sjis?Q?=96?= =?Shift_JIS?B?ew==?=", "日本"),
    (b"=?iso-2022-jp?B?GyRCRnwbKEI=?= =?iso-2022-jp?B?GyRCS1wbKEI=?=", "日本"),
    (b"=?iso-2022-jp?B?GyRCRg==?= =?iso-2022-jp?B?fEtcGyhC?=", "日本"),
    # of another charset, or with something between, each stands alone
    (b"=?utf-8?Q?=C3?= =?iso-8859-1?Q?=A9?=", "\ufffd©"),
    (b"=?utf-8?Q?=C3?= and =?utf-8?Q?=A9?=", "\ufffd and \ufffd"),
    (b"=?utf-8?Q?a?= =?utf-8?Q?b?= c =?koi8-r?B?xME=?=", "ab c да"),
    (b"=?utf-8?Q?a?==?utf-8?Q?b?=", "ab"),
    (b"=?punycode?Q?a-?= =?punycode?Q?b?=", "a-b"),
    (b"=?us-ascii?Q?caf=C3?= =?x-unknown?Q?=A9?=", "café"),
    (b"=?utf-8?Q?a==b?= =?utf-8?Q?=C3=A9=?= =?utf-8?Q?c?=", "a==bé=c"),
    (b"x =?utf-8?Q?a_b?= \t y", "x a b \t y"),
    (b"=?utf-8?Q?caf=C3=A9??= =?utf-8?Q?_Who?_I?=", "café? Who? I"), (b"=?utf-8?Q?a??b?=", "a??b"),
    (b"=?utf-8?Q?a?b =?utf-8?Q?c=C3=A9?=", "=?utf-8?Q?a?b cé"),
    (b"=?utf-8?Q?unfinished", "=?utf-8?Q?unfinished"),
    ("plain ünd =?utf-8?Q?=C3=BC?=".encode(), "plain ünd ü"),
]


@pytest.mark.parametrize(("value", "text"), WORDS)
def test_encoded_words(value: bytes, text: str) -> None:
    assert decode.words(value) == text


def test_eight_bit_values_become_encoded_words() -> None:
    for text in ("é", "日本語" * 40, "x" * 100 + "\U0001f600" * 30, "e\u0301" * 50):
        encoded = decode.encode_8bit(text.encode())
        assert decode.words(encoded) == text
        assert encoded.isascii()
        assert all(len(word) <= 75 for word in encoded.split(b" "))


# -- bodies

def test_the_charset_of_a_body() -> None:
    head = b"Content-Type: text/plain; charset=%s\nContent-Transfer-Encoding: 8bit\n\n"
    assert in_body(Message(head % b"us-ascii" + "un thé".encode()), "thé")
    assert in_body(Message(head % b"x-sjis" + "日本語".encode("cp932")), "日本語")
    assert in_body(Message(head % b"\"unicode-1-1-utf-7\"" + "日本語".encode("utf_7")), "日本語")
    assert in_body(Message("Subject: x\n\nun thé".encode()), "thé")
    assert in_body(Message(b"Subject: x\n\nun th\xe9"), "thé")


def test_the_charset_that_a_page_names_itself() -> None:
    head = b"Content-Type: text/html%s\nContent-Transfer-Encoding: 8bit\n\n"
    word = "привет"
    page = b"<html><head><meta charset=koi8-r></head><p>" + word.encode("koi8_r")
    older = b"<META http-equiv=x content='text/html; charset=windows-1251'>" + word.encode("cp1251")
    for text in (page, older):
        assert in_body(Message(head % b"" + text), word)
        assert in_body(Message(head % b"; charset=us-ascii" + text), word)
    unlike = page.replace(word.encode("koi8_r"), word.encode())
    assert in_body(Message(head % b"; charset=utf-8" + unlike), word)
    assert in_body(Message(head % b"" + unlike), word)


# -- where the library cannot be read any more

@pytest.mark.parametrize("beside", [True, False])
def test_tables_are_of_another_process_where_there_can_be_one(monkeypatch: pytest.MonkeyPatch,
                                                              beside: bool) -> None:
    here = []

    def elsewhere(work: Callable[[], bytes]) -> Callable[[], bytes | None]:
        known = dict(eightbit._letters)
        found = work() if beside else None
        here.append(len(eightbit._letters) - len(known))
        eightbit._letters.clear()
        return lambda: found

    monkeypatch.setattr(eightbit, "_letters", {})
    monkeypatch.setattr(proc, "elsewhere", elsewhere)
    eightbit.load(["koi8_r", "cp1140"])
    assert here == [2 if beside else 0]
    assert eightbit._letters == {codec: eightbit.OCTETS.decode(codec, "replace")
                                 for codec in ("koi8_r", "cp1140")}


def test_all_codecs_are_loaded_before_the_login() -> None:
    """A process of the listener may not be able to read the library once it is the user's."""
    program = ("import builtins, sys\nfrom courierpy import preload\npreload.preload()\n"
               "before = set(sys.modules)\nimport_ = builtins.__import__\n"
               "def refuse(name, *more):\n"
               "    if name not in sys.modules: raise ImportError(name)\n"
               "    return import_(name, *more)\n"
               "builtins.__import__, sys.meta_path = refuse, []\n"
               "from courierpy.message import charsets\n"
               "assert not [name for name in charsets._EIGHT_BIT if f'encodings.{name}' in sys.modules]\n"
               "for label in [label.decode() for label in charsets.known()] + [*charsets.CODECS]:\n"
               "    assert charsets.find(label) is not None, label\n"
               "    for octets in (b'text', bytes(range(256)), b'\\xfe\\xfe\\x1b$B!!'):\n"
               "        charsets.charset_text(octets, label)\n"
               "print(*sorted(set(sys.modules) - before))\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False,
                          env=plain_environ())
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
