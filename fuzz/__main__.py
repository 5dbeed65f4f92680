"""python -m fuzz [--seconds N] [TARGET...]: coverage-guided, each target for a while.

Needs atheris (extra ``fuzz``).  Inputs that reach new code are kept in .fuzz/TARGET, the
shortest ones; what breaks is kept as .fuzz/crash-TARGET-...  Exit status 1 where something broke.
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(".fuzz")
MOST_OCTETS = 4096
MOST_INPUTS = 400                  # of a corpus
TALK = ("INFO:", "WARNING:", "#", '"')
SLOW_S = 20                        # a single input


def fuzz(name: str, arguments: list[str]) -> None:
    """In a process of its own: libFuzzer ends it."""
    import atheris
    with atheris.instrument_imports(include=["courierpy"]):
        from fuzz.targets import TARGETS
    target = TARGETS[name]
    HERE.joinpath(name).mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        path = HERE / name / f"seed{number}"
        if not path.exists():
            path.write_bytes(seed[:MOST_OCTETS])
    words = HERE / f"{name}.dict"
    with words.open("w", encoding="ascii") as file:
        for token in filter(None, target.tokens):
            file.write('"' + "".join(f"\\x{octet:02x}" for octet in token) + '"\n')
    atheris.Setup([sys.argv[0], f"-dict={words}", f"-max_len={MOST_OCTETS}", f"-timeout={SLOW_S}",
                   f"-artifact_prefix={HERE}/crash-{name}-", "-verbosity=0", "-print_final_stats=1",
                   *arguments], target.run)
    atheris.Fuzz()


def again(name: str, arguments: list[str]) -> int:
    """fuzz() in another process; gives its exit status, and prints what is not libFuzzer's talk."""
    with subprocess.Popen([sys.executable, "-m", "fuzz", "--inside", name, *arguments],
                          stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if not line.startswith(TALK):
                print(line, end="", flush=True)
    return process.returncode


def keep_small(name: str) -> None:
    """The shortest inputs stay: libFuzzer replaces them by shorter ones that reach the same."""
    paths = sorted(HERE.joinpath(name).iterdir(), key=lambda path: path.stat().st_size)
    for path in paths[MOST_INPUTS:]:
        path.unlink()


def main(words: list[str]) -> int:
    if words[:1] == ["--inside"]:
        fuzz(words[1], words[2:])
        return 0
    from fuzz.targets import TARGETS
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="of " + ", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=120, help="for each target (120)")
    options = parser.parse_args(words)
    if unknown := [name for name in options.targets if name not in TARGETS]:
        parser.error(f"no target {unknown[0]!r}")
    os.nice(10)
    broken = []
    for name in options.targets or TARGETS:
        print(f"{name}: {options.seconds} s", flush=True)
        if again(name, [f"-max_total_time={options.seconds}", str(HERE / name)]):
            broken.append(name)
        keep_small(name)
    found = sorted(map(str, HERE.glob("crash-*")))
    print("\n".join(["broken: " + ", ".join(broken), *found]) if broken else "nothing broke")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
