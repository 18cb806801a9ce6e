"""Plain-text corpora: reads files into documents of paragraphs; knows nothing of tokens.

The format: UTF-8, one paragraph a line, a blank line between documents, `.xz` compressed or not.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mbexplore.errors import TextError

Document = list[str]
"""The paragraphs of one document."""


@dataclass(frozen=True)
class CorpusSpec:
    """One `--corpus` argument: which file, how often, and how its lines belong together."""

    path: Path
    weight: float = 1.0
    lines: bool = False
    """Every line is a text of its own (facts, dictionary entries), not part of a document."""


def parse_corpus_spec(argument: str) -> CorpusSpec:
    """Reads `FILE[:WEIGHT][:lines]`, as in `facts.txt.xz:8:lines`.

    Args:
        argument: as typed; a weight of 2 shows the file twice in an epoch, 0.5 half of it.

    Raises:
        TextError: the weight is not a positive number.
    """
    rest, lines = argument, False
    if rest.endswith(":lines"):
        rest, lines = rest.removesuffix(":lines"), True
    head, colon, tail = rest.rpartition(":")
    if not colon or not head or "/" in tail or "\\" in tail or Path(rest).exists():
        return CorpusSpec(Path(rest), lines=lines)
    try:
        weight = float(tail)
    except ValueError:
        weight = -1.0
    if not 0 < weight < 1000:
        raise TextError(
            f"--corpus {argument}: the weight is {tail!r}; give a number over 0 and under "
            "1,000, as in facts.txt:8."
        )
    return CorpusSpec(Path(head), weight, lines)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, decompressed if it ends in `.xz`.

    Raises:
        TextError: the file is missing, unreadable, empty, not UTF-8, or broken xz.
    """
    try:
        data = path.read_bytes()
        text = (lzma.decompress(data) if path.suffix == ".xz" else data).decode("utf-8-sig")
    except FileNotFoundError:
        raise TextError(f"There is no file {path}; check the path given to --corpus.") from None
    except UnicodeDecodeError as error:
        raise TextError(
            f"{path} is not UTF-8 (byte {error.start:,} can't be read); save it as UTF-8 text."
        ) from None
    except lzma.LZMAError:
        raise TextError(f"{path} is not a complete xz file; compress it again.") from None
    except OSError as error:
        raise TextError(f"{path} can't be read ({error.strerror}); give a text file.") from None
    if not text.strip():
        raise TextError(f"{path} holds no text; give a file with a paragraph on each line.")
    return text.splitlines()


def read_documents(spec: CorpusSpec) -> list[Document]:
    """The documents of one corpus file; with `spec.lines`, every line is one.

    Raises:
        TextError: see `read_lines`.
    """
    lines = [line.strip() for line in read_lines(spec.path)]
    if spec.lines:
        return [[line] for line in lines if line]
    documents: list[Document] = [[]]
    for line in lines:
        if line:
            documents[-1].append(line)
        elif documents[-1]:
            documents.append([])
    return [document for document in documents if document]


def read_words(path: Path) -> list[str]:
    """The names of a `--words` file: one a line, `#` starts a comment.

    Raises:
        TextError: the file can't be read, or a name has a space in it.
    """
    try:
        words = [line.partition("#")[0].strip() for line in read_lines(path)]
    except TextError as error:
        raise TextError(str(error).replace("--corpus", "--words")) from None
    words = list(dict.fromkeys(word for word in words if word))
    for word in words:
        if len(word.split()) != 1:
            raise TextError(f"{path}: {word!r} is not one word; give one word on each line.")
    return words


def iterate_paragraphs(documents: list[Document]) -> Iterator[str]:
    """All paragraphs in order."""
    for document in documents:
        yield from document
