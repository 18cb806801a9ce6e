"""Code, docs and pages use the field's words: none of those that were coined here comes back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COINED = (
    "wish", "wishes", "sight", "desk", "skin", "skins", "ruling", "hull", "silence", "silences",
    "silenced", "silencers", "told", "teller", "knockout", "knock-out", "parting", "at whom",
    "who looks", "would answer", "tokens a turn",
)  # fmt: skip
FORBIDDEN = re.compile(rf"\b({'|'.join(COINED)})\b", re.IGNORECASE)
FILES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "demo.py")),
    ROOT / "assets" / "tiny" / "README.md",
    *(
        path
        for folder in ("mbexplore", "ui")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".js", ".css")
    ),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_coined_word_is_used(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [f"{n}: {line.strip()}" for n, line in enumerate(lines, 1) if FORBIDDEN.search(line)]
    assert not found


def test_the_test_sees_them():
    assert FORBIDDEN.search("A wish in a text.") and FORBIDDEN.search("who looks at whom")
    assert not FORBIDDEN.search("The wishbone was silently unskinned.")
