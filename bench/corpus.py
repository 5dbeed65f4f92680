"""Mail that looks like mail, the same on every machine and in every run.

Sizes with a median of 6 kB and a long tail, the usual MIME trees, transfer
encodings and charsets, threads with References, encoded words, eight years of
Dates, flags in file names in the shares that one finds.  ``small`` messages have
the same headers and short texts.  Only ``random.random()`` is used of the
generator: its sequence is the same in every version of Python.
"""
from __future__ import annotations

import base64
import binascii
import math
import os
import random
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20240229
MEDIAN = 3300                      # of the text; markup and attachments make it 6 kB for the whole
SPREAD = 1.3                       # sigma of the logarithm
LARGEST = 3_000_000
FIRST_DATE = 1_450_000_000         # December 2015; the last message comes eight years later
YEARS = 8
RARE_WORD = "perihelion"           # in the text of one message in a hundred, often encoded
RARE = 0.01
LINKS = 20_000                     # hard links to one file; ext4 allows 65,000

CONSONANTS = {"en": "b c d f g h l m n p r s t w th st", "de": "b d f g h k l m n r s sch st t w z",
              "fr": "b c d f g j l m n p qu r s t v", "ru": "б в г д з к л м н п р с т ф х ш"}
VOWELS = {"en": "a e i o u ea ou", "de": "a e i o u ä ö ü ei", "fr": "a e é è ê i o ou à",
          "ru": "а е и о у ы я ю"}
KANJI = "日月火水木金土山川田人口車門雨本学生先年時分国会社電話東西南北京都大小中"
KANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん"
# language, charset, transfer encoding, share
TEXTS = (("en", "us-ascii", "7bit", 0.40), ("en", "utf-8", "quoted-printable", 0.12),
         ("en", "utf-8", "base64", 0.08), ("de", "iso-8859-1", "quoted-printable", 0.10),
         ("de", "utf-8", "8bit", 0.08), ("fr", "windows-1252", "quoted-printable", 0.07),
         ("fr", "utf-8", "quoted-printable", 0.04), ("ru", "koi8-r", "8bit", 0.04),
         ("ru", "utf-8", "base64", 0.03), ("ja", "iso-2022-jp", "7bit", 0.03),
         ("ja", "utf-8", "base64", 0.01))
TREES = (("plain", 0.36), ("alternative", 0.34), ("mixed", 0.14), ("related", 0.07), ("signed", 0.04),
         ("forward", 0.03), ("nested", 0.02))
FLAGS = (("S", 0.62), ("RS", 0.20), ("FS", 0.03), ("FRS", 0.02), ("PS", 0.02), ("ST", 0.01), ("", 0.10))
PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
HOSTS = ("example.org", "example.net", "mail.example.com", "lists.example.org", "uni.example.edu",
         "shop.example", "bank.example", "example.com")


def pick(rng: random.Random, table: tuple[tuple[str, float], ...]) -> str:
    """A word of the table, by its share."""
    value = rng.random()
    for word, share in table:
        value -= share
        if value < 0:
            return word
    return table[0][0]


class Writer:
    """Makes message after message; each knows those before it (threads)."""

    def __init__(self, small: bool = False, seed: int = SEED) -> None:
        self.rng = random.Random(seed)
        self.small = small
        self.words = {language: self._vocabulary(language) for language in ("en", "de", "fr", "ru", "ja")}
        self.lines = {language: self._lines(language) for language in self.words}
        self.blob = base64.encodebytes(bytes(int(256 * self.rng.random()) for _ in range(150_000)))
        self.people = [self._person(number) for number in range(400)]
        self.threads: list[tuple[bytes, bytes, str, str]] = []      # id, references, subject, charset

    # -- what texts are made of

    def _less(self, bound: int) -> int:
        return int(self.rng.random() * bound)

    def _vocabulary(self, language: str) -> list[str]:
        found = []
        for _ in range(1500):
            if language == "ja":
                found.append("".join(KANJI[self._less(len(KANJI))] if self.rng.random() < 0.4
                                     else KANA[self._less(len(KANA))] for _ in range(1 + self._less(4))))
            else:
                first, second = CONSONANTS[language].split(), VOWELS[language].split()
                found.append("".join(first[self._less(len(first))] + second[self._less(len(second))]
                                     for _ in range(1 + self._less(4))))
        return found

    def _word(self, language: str) -> str:
        # the square: few words make most of a text
        return self.words[language][int(1500 * self.rng.random() ** 2)]

    def _lines(self, language: str) -> list[str]:
        width = 30 if language == "ja" else 70
        found = []
        for _ in range(1500):
            line = ""
            while len(line) < width:
                line += self._word(language) + ("" if language == "ja" else " ")
            found.append(line.rstrip())
        return found

    def _person(self, number: int) -> bytes:
        language, charset = (("en", ""), ("en", ""), ("de", "iso-8859-1"), ("fr", "utf-8"),
                             ("ru", "koi8-r"), ("ja", "iso-2022-jp"))[number % 6]
        name = f"{self._word(language)} {self._word(language)}".title()
        mailbox = f"{self._word('en')}.{number}@{HOSTS[number % len(HOSTS)]}"
        if not charset:
            return f'"{name}" <{mailbox}>'.encode() if number % 4 else f"{mailbox} ({name})".encode()
        return _encoded(name, charset, number % 3 == 0) + f" <{mailbox}>".encode()

    def _text(self, language: str, size: int) -> str:
        lines = self.lines[language]
        width = 31 if language == "ja" else 74
        start, count = self._less(len(lines)), max(1, size // width)
        found = [lines[(start + number) % len(lines)] for number in range(count)]
        if self.rng.random() < RARE:
            found[self._less(count)] += f" {RARE_WORD}"
        if self.rng.random() < 0.3:                    # an answer quotes
            half = count // 2
            found[half:] = ["> " + line for line in found[half:]]
        return "\n".join(found) + "\n"

    # -- parts

    def _leaf(self, kind: str, size: int) -> tuple[bytes, bytes]:
        """Header fields and body of one text part."""
        value = self.rng.random()
        for language, charset, encoding, share in TEXTS:     # noqa: B007
            value -= share
            if value < 0:
                break
        text = self._text(language, size)
        if kind == "html":
            text = ("<html><head><style>p { margin: 0 }</style></head><body>\n"
                    + text.replace("\n", "<br>\n<p class=\"text\">") + "</body></html>\n")
        data = text.encode(charset, "replace")
        if encoding == "base64":
            data = base64.encodebytes(data)
        elif encoding == "quoted-printable":
            data = binascii.b2a_qp(data, istext=True)
        subtype = b"plain" if kind == "plain" else b"html"
        return (b'Content-Type: text/%s; charset="%s"\nContent-Transfer-Encoding: %s\n'
                % (subtype, charset.encode(), encoding.encode())), data

    def _attachment(self, size: int, kind: bytes, name: bytes) -> tuple[bytes, bytes]:
        lines = max(1, size // 77)
        start = self._less(len(self.blob) // 77 - 1)
        data = b""
        while len(data) < 77 * lines:
            data += self.blob[77 * start:77 * (start + lines) - len(data)]
            start = 0
        return (b'Content-Type: %s; name="%s"\nContent-Transfer-Encoding: base64\n'
                b'Content-Disposition: attachment; filename="%s"\n' % (kind, name, name)), data

    def _multipart(self, subtype: bytes, parts: list[tuple[bytes, bytes]],
                   more: bytes = b"") -> tuple[bytes, bytes]:
        boundary = b"=_%08x%08x" % (self._less(1 << 32), self._less(1 << 32))
        body = b"This is a multi-part message in MIME format.\n"
        for head, data in parts:
            body += b"--%s\n%s\n%s\n" % (boundary, head, data)
        return (b'Content-Type: multipart/%s;%s\n boundary="%s"\n' % (subtype, more, boundary),
                body + b"--%s--\n" % boundary)

    def _alternative(self, size: int) -> tuple[bytes, bytes]:
        return self._multipart(b"alternative", [self._leaf("plain", size // 3),
                                                self._leaf("html", size * 2 // 3)])

    def _tree(self, tree: str, size: int) -> tuple[bytes, bytes]:
        """Header fields and body of a whole message's content."""
        if tree == "alternative":
            return self._alternative(size)
        if tree == "mixed":
            text = self._alternative(min(size // 3, 4000)) if self.rng.random() < 0.5 else self._leaf(
                "plain", min(size // 3, 4000))
            count = 1 + self._less(3)
            rest = max(2000, size - 4000) * 3 // count
            return self._multipart(b"mixed", [text, *(self._attachment(
                rest, (b"application/pdf", b"image/jpeg", b"application/zip")[number],
                b"file%d.bin" % number) for number in range(count))])
        if tree == "related":
            image, data = self._attachment(size, b"image/png", b"logo.png")
            return self._multipart(b"related", [self._alternative(size // 2),
                                                (image + b"Content-ID: <logo@local>\n", data)],
                                   b' type="multipart/alternative";')
        if tree == "signed":
            return self._multipart(b"signed", [self._leaf("plain", size), self._attachment(
                2400, b"application/pkcs7-signature", b"smime.p7s")],
                b' protocol="application/pkcs7-signature"; micalg=sha-256;')
        if tree == "forward":
            head, body = self._alternative(size)
            inner = self._headers(0, None)[0] + head + b"\n" + body
            return self._multipart(b"mixed", [self._leaf("plain", 300),
                                              (b"Content-Type: message/rfc822\n", inner)])
        if tree == "nested":
            deep = self._alternative(size // 2)
            for _ in range(2 + self._less(3)):
                deep = self._multipart(b"mixed", [deep, self._leaf("plain", 300)])
            return deep
        return self._leaf("plain", size)

    # -- headers

    def _subject(self, language: str) -> str:
        return " ".join(self._word(language) for _ in range(2 + self._less(6))).capitalize()

    def _headers(self, number: int, date: int | None) -> tuple[bytes, tuple[bytes, bytes, str, str]]:
        """Header fields without those of the content, and what an answer needs of them."""
        rng = self.rng
        when = FIRST_DATE if date is None else date
        own = b"<%x.%d@%s>" % (self._less(1 << 60), number, HOSTS[self._less(len(HOSTS))].encode())
        references = b""
        if self.threads and date is not None and rng.random() < 0.55:
            # the cube: most answers come soon
            back = int(min(len(self.threads), 300) * rng.random() ** 3)
            parent, earlier, subject, charset = self.threads[-1 - back]
            kept = (earlier.split() + [parent])[-20:]
            references = b"\n ".join(kept)
            subject = subject if subject.startswith("Re: ") else "Re: " + subject
        else:
            language, charset = (("en", ""), ("en", ""), ("en", ""), ("de", "iso-8859-1"), ("fr", "utf-8"),
                                 ("ru", "koi8-r"), ("ja", "iso-2022-jp"), ("ru", "utf-8"))[self._less(8)]
            subject = self._subject(language)
        stamp = _date(when - self._less(300), self._less(25) - 12)
        sender = self.people[int(400 * rng.random() ** 2)]
        lines = [b"Return-Path: <bounce.%d@%s>" % (number, HOSTS[self._less(len(HOSTS))].encode()),
                 b"Delivered-To: bench@example.net"]
        for hop in range(2 + self._less(4)):
            lines.append(b"Received: from mx%d.example.org (mx%d.example.org [192.0.2.%d])\n"
                         b"\tby mail%d.example.net with ESMTPS id %08X\n\tfor <bench@example.net>; %s"
                         % (hop, hop, 1 + self._less(250), hop, self._less(1 << 32), stamp))
        if rng.random() < 0.7:
            blob = self.blob[77 * self._less(1000):][:300].replace(b"\n", b"\n\t")
            lines.append(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=2015;\n"
                         b"\th=from:to:subject:date:message-id; bh=" + blob.rstrip())
        lines += [b"From: " + sender, b"To: " + b",\n ".join(
            self.people[self._less(400)] for _ in range(1 + int(8 * rng.random() ** 4)))]
        if rng.random() < 0.25:
            lines.append(b"Cc: " + b",\n ".join(self.people[self._less(400)]
                                                for _ in range(1 + self._less(5))))
        if rng.random() < 0.15:
            lines.append(b"Reply-To: " + self.people[self._less(400)])
        coded = _encoded(subject, charset, number % 2 == 0) if charset else subject.encode()
        lines += [b"Subject: " + coded, b"Date: " + stamp, b"Message-ID: " + own]
        if references:
            lines += [b"In-Reply-To: " + references.split()[-1], b"References: " + references]
        if rng.random() < 0.3:
            lines += [b"List-Id: <talk.lists.example.org>",
                      b"List-Unsubscribe: <mailto:leave@lists.example.org>", b"Precedence: list"]
        lines += [b"User-Agent: Writer/%d.%d" % (1 + self._less(20), self._less(10)),
                  b"X-Spam-Status: No, score=%.1f required=5.0" % (5 * rng.random()), b"MIME-Version: 1.0"]
        return b"\n".join(lines) + b"\n", (own, references, subject, charset)

    def message(self, number: int, count: int) -> tuple[bytes, int, bytes]:
        """The octets with LF line ends, the time it came, and its file name."""
        when = FIRST_DATE + int((number + self.rng.random()) / count * YEARS * 365 * 86400)
        head, link = self._headers(number, when)
        self.threads.append(link)
        if len(self.threads) > 600:
            del self.threads[:300]
        if self.small:
            tree, size = ("plain" if self.rng.random() < 0.7 else "alternative"), 200 + self._less(800)
        else:
            tree = pick(self.rng, TREES)
            normal = (math.sqrt(-2 * math.log(1 - self.rng.random()))
                      * math.cos(2 * math.pi * self.rng.random()))
            size = int(min(LARGEST, MEDIAN * math.exp(SPREAD * normal)))
            size = max(100, size - len(head))          # what is left for the text
        fields, body = self._tree(tree, size)
        data = b"%s%s\n%s" % (head, fields, body)
        flags = pick(self.rng, FLAGS).encode()
        return data, when, self.name(number, when, len(data)) + b":2," + flags

    def name(self, number: int, when: int, size: int) -> bytes:
        """As two well-known delivery agents name files, by turns."""
        if number % 2:
            return b"%d.Vfd01I%xM%06d.mail" % (when, 0xa00000 + number, self._less(1000000))
        return (b"%d.M%06dP%dV000000000000FD01I%016X_0.mail,S=%d"
                % (when, self._less(1000000), 1000 + self._less(30000), 0xa00000 + number, size))


def _encoded(text: str, charset: str, base: bool) -> bytes:
    """Encoded words of RFC 2047, each short enough."""
    words = []
    for start in range(0, len(text), 12):
        data = text[start:start + 12].encode(charset, "replace")
        if base or charset.startswith("iso-2022"):
            words.append(b"=?%s?B?%s?=" % (charset.encode(), base64.b64encode(data)))
        else:
            plain = b"".join(b"%c" % octet if octet in PLAIN else b"=%02X" % octet for octet in data)
            words.append(b"=?%s?Q?%s?=" % (charset.encode(), plain.replace(b"=20", b"_")))
    return b"\n ".join(words)


def _date(when: int, zone: int) -> bytes:
    moment = time.gmtime(when + 3600 * zone)
    day = "MonTueWedThuFriSatSun"[3 * moment.tm_wday:][:3]
    month = "JanFebMarAprMayJunJulAugSepOctNovDec"[3 * moment.tm_mon - 3:][:3]
    return (f"{day}, {moment.tm_mday} {month} {moment.tm_year} {moment.tm_hour:02}:{moment.tm_min:02}:"
            f"{moment.tm_sec:02} {'-' if zone < 0 else '+'}{abs(zone):02}00").encode()


# -- Maildirs

def make_folder(path: str, owner: tuple[int, int] | None) -> None:
    """An empty Maildir folder."""
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, part), 0o700)
    for name in ("", "cur", "new", "tmp"):
        give(os.path.join(path, name), owner)


def give(path: str | bytes, owner: tuple[int, int] | None) -> None:
    if owner is not None:
        os.chown(path, *owner)


def write(directory: str, count: int, small: bool, owner: tuple[int, int] | None, seed: int = SEED) -> None:
    """``count`` messages as files in ``directory``."""
    writer = Writer(small, seed)
    os.makedirs(directory)
    where = os.fsencode(directory)
    for number in range(count):
        data, when, name = writer.message(number, count)
        path = os.path.join(where, name)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, data)
        os.utime(fd, (when, when))
        if owner is not None:
            os.fchown(fd, *owner)
        os.close(fd)


def link(source: str, directory: str) -> int:
    """Every file of ``source`` in ``directory`` too, under its name.  Gives how many."""
    from_there, to_here = os.fsencode(source) + b"/", os.fsencode(directory) + b"/"
    names = os.listdir(os.fsencode(source))
    for name in names:
        os.link(from_there + name, to_here + name)
    return len(names)


def link_many(source: str, directory: str, count: int) -> None:
    """``count`` names for the few files of ``source``: where nobody reads the messages."""
    from_there, to_here = os.fsencode(source) + b"/", os.fsencode(directory) + b"/"
    for number, (name, when) in enumerate(_endless(source, count)):
        base = b"%d.Vfd01I%xM%06d.mail" % (when, 0xa00000 + number, number % 1000000)
        os.link(from_there + name, to_here + base + name[name.rindex(b":"):])


def _endless(source: str, count: int) -> Iterator[tuple[bytes, int]]:
    names = sorted(os.listdir(os.fsencode(source)))
    if count > LINKS * len(names):
        raise ValueError("too few files to link to")
    for number in range(count):
        yield names[number % len(names)], FIRST_DATE + number * YEARS * 365 * 86400 // count
