"""Turn records of IMAPDEBUGFILE into dialogue files.

    COURIERPY_RECORD=DIR pytest tests/clients
    python tests/dialogue/record.py demo DIR/test_aerc/* >tests/dialogue/clients/aerc.txt

Several records are sessions one after another.  What another run would tell
differently (UIDVALIDITY, dates, the text of messages) becomes a name or ``...``.
"""
from __future__ import annotations

import re
import sys
from pathlib import Path


def steps(record: Path) -> list[tuple[str, str]]:
    """("READ" or "WRITE", line) of a record."""
    found = []
    for line in record.read_bytes().decode("utf-8", "backslashreplace").splitlines():
        word, _, text = line.partition(": ")
        found.append((word.rstrip(":"), text))
    return found


def escape(text: str) -> str:
    """As the notation wants it: backslashes doubled, other than ASCII by its number."""
    return "".join(char if " " <= char <= "~" else f"\\U{ord(char):08x}"
                   for char in text.replace("\\", "\\\\").replace("$", "\\x24"))


def octets(text: str) -> str:
    """What a client sends is written in octets."""
    return "".join(char if " " <= char <= "~" else "".join(f"\\x{octet:02x}" for octet in char.encode())
                   for char in text.replace("\\", "\\\\").replace("$", "\\x24"))


class Writer:
    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def name(self, number: str) -> str:
        """$va, $vb, ... for the numbers that are a UIDVALIDITY."""
        return self.names.setdefault(number, "$v" + chr(97 + len(self.names)))

    def reply(self, line: str) -> str | None:
        """The line of a reply as the dialogue wants it; None for one that says nothing."""
        line = escape(line)
        if re.match(r"\* (BYE|OK \[(UIDNEXT|UNSEEN|PERM|HIGHEST|MAILBOXID)|FLAGS|ID|CAPABILITY|NAMESPACE|"
                    r"\d+ RECENT)", line):
            return None
        line = re.sub(r"(UIDVALIDITY |APPENDUID |COPYUID )(\d+)", lambda m: m[1] + self.name(m[2]), line)
        if line.startswith("*") and " FETCH (" in line:
            head, *rest = re.split(r'ENVELOPE|INTERNALDATE|BODY|RFC822|"|\{', line, maxsplit=1)
            return head + "..." if rest else line
        if line.startswith("*"):
            return line
        tag, word, *_ = line.split()
        code = re.search(r"\[(?!MAILBOXID)[A-Z]+[^\]]*\]", line)
        return f"{tag} {word} {code[0] + ' ' if code else ''}..."


def convert(records: list[Path], mail: str) -> str:
    writer = Writer()
    out = [f"mail: {mail}", "new: yes", "IMAP_IDLE_TIMEOUT: 1", ""]
    for number, record in enumerate(records, 1):
        out += [f"{number}{line}" if line[0] != "=" else line for line in session(steps(record), writer)]
    return "\n".join(out) + "\n"


def session(todo: list[tuple[str, str]], writer: Writer) -> list[str]:
    """The steps of one session, without the number of the client."""
    out: list[str] = []
    at = 0
    while at < len(todo):
        word, text = todo[at]
        at += 1
        if word == "READ":
            sent = octets(text)
            while literal := re.search(r"\{(\d+)\+?\}$", text):
                sent = re.sub(r"\{(\d+)\+?\}$", r"{\1+}", sent) + "\\r\\n"
                if at < len(todo) and todo[at] == ("WRITE", "+ OK"):
                    at += 1
                size = int(literal[1])
                while True:
                    assert todo[at][0] == "READ", todo[at]
                    text = todo[at][1]
                    at += 1
                    left = text.encode()
                    if len(left) >= size:
                        head, text = left[:size].decode("utf-8", "replace"), left[size:].decode()
                        sent += octets(head) + octets(text)
                        break
                    sent += octets(text) + "\\r\\n"
                    size -= len(left) + 2
                    if not size:
                        text = todo[at][1]
                        at += 1
                        sent += octets(text)
                        break
            out.append(f"> {sent}")
        elif re.match(r"\S+ (OK LOGIN|OK AUTH)|\* PREAUTH", text) or (text == "+ OK"):
            continue
        elif text.startswith(("* ", "+ ")) or re.match(r"\S+ (OK|NO|BAD) ", text):
            line = writer.reply(text)
            if line is not None:
                if line.endswith(" EXISTS") and out[-1].startswith("< + "):
                    out.append("= deliver three")          # somebody else did, in the middle of IDLE
                out.append(f"< {line}")
    return out


if __name__ == "__main__":
    sys.stdout.write(convert([Path(name) for name in sys.argv[2:]], sys.argv[1]))
