"""Every sentence of a user's mistake ends with what to do."""

import ast
import re

import pytest

from mbexplore import errors
from tests.test_structure import FILES

KINDS = {name for name, one in vars(errors).items() if isinstance(one, type)}
VERBS = """
accept add ask block build check choose close compare compress convert copy correct delete
download end export fetch free get give install keep leave list load log make mask mend merge move
name open pip point put raise record remove rename repeat report restart resume return run save
say see send set shorten spell split start take train try turn type unset update use wait write
""".split()  # noqa: SIM905
"""First words of what to do."""


def sentence_of(node):
    """The sentence that a call is given, what is filled in in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(sentence_of, node.values))
    if isinstance(node, ast.FormattedValue):
        return "{}"
    if isinstance(node, ast.BinOp):
        return sentence_of(node.left) + sentence_of(node.right)
    return "{}"


def sentences():
    """Every sentence of an error of ours, with the file and line it stands in."""
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_ours = isinstance(node, ast.Call) and getattr(node.func, "id", "") in KINDS
            if is_ours and node.args:
                yield f"{name}:{node.lineno}", sentence_of(node.args[0])


def says_what_to_do(sentence):
    """Whether the last clause is a request, or says what has to be."""
    if sentence.endswith("{}"):  # a sentence that another one is quoted in
        return True
    _, semicolon, last = sentence.rpartition(";")
    first, *rest = re.findall(r"[a-zA-Z{}]+", last) or [""]
    is_must = "must" in rest[:3]
    return bool(semicolon) and (first in VERBS or is_must or first == "{}")


def test_every_error_ends_with_what_to_do():
    found = list(sentences())
    assert len(found) > 300
    assert [one for one in found if not says_what_to_do(one[1])] == []


@pytest.mark.parametrize(
    "sentence,good",
    [
        ("There is no layer 9; choose 0 to 8.", True),
        ("hidden_size is 0 in config.json; it must be 1 or more.", True),
        ("{}; {}, or name a folder.", True),
        ("There is no layer 9; it has 8.", False),
        ("There is no layer 9.", False),
    ],
)
def test_the_test_tells_them_apart(sentence, good):
    assert says_what_to_do(sentence) is good
