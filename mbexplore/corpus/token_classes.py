"""Classes of tokens that letters alone show, without a tagger.

Every class is a regular expression that DuckDB (RE2) and Python (`regex`) read alike; a token is
of a class where the whole of it matches. Tokens keep the space before a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import regex


@dataclass(frozen=True)
class TokenClass:
    """A class of tokens.

    Attributes:
        phrase: one of them in a sentence, "a capitalised word".
        pattern: what the whole of a token matches.
    """

    phrase: str
    pattern: str

    def has(self, token: str) -> bool:
        """Whether a token is of it."""
        return regex.fullmatch(self.pattern, token) is not None


def _words(*words: str) -> str:
    return rf"(?i) ?(?:{'|'.join(words)})"


CLASSES: Mapping[str, TokenClass] = {
    "mask": TokenClass("a mask", r"\[MASK\]|<mask>"),
    "special": TokenClass("a special token", r"\[[A-Z]+\]|</?[a-z|_]+>|<\|.*\|>"),
    "punctuation": TokenClass("punctuation", r" ?[\p{P}\p{S}]+"),
    "number": TokenClass("a number", r" ?\p{N}[\p{N}.,]*"),
    "capitalised": TokenClass("a capitalised word", r" ?\p{Lu}[\p{L}\p{M}]*"),
    "lowercase": TokenClass("a lower-case word", r" \p{Ll}[\p{L}\p{M}]*"),
    "inside": TokenClass("a piece inside a word", r"\p{Ll}[\p{L}\p{M}]*"),
    "space": TokenClass("white space", r"[ \t\n\f\r]+"),
    "article": TokenClass("an article", _words("a", "an", "the")),
    "preposition": TokenClass(
        "a preposition",
        _words(
            "about", "above", "across", "after", "against", "along", "among", "around", "at",
            "before", "behind", "below", "between", "beyond", "by", "during", "for", "from", "in",
            "into", "near", "of", "off", "on", "onto", "over", "per", "since", "than", "through",
            "to", "toward", "towards", "under", "until", "upon", "via", "with", "within", "without",
        ),
    ),
    "conjunction": TokenClass(
        "a conjunction",
        _words(
            "although", "and", "because", "but", "if", "nor", "or", "so", "that", "though",
            "unless", "when", "where", "whereas", "whether", "while", "yet",
        ),
    ),
    "pronoun": TokenClass(
        "a pronoun",
        _words(
            "he", "her", "hers", "him", "his", "i", "it", "its", "me", "my", "our", "ours", "she",
            "their", "theirs", "them", "they", "this", "these", "those", "us", "we", "who", "whom",
            "whose", "you", "your", "yours",
        ),
    ),
    "auxiliary": TokenClass(
        "an auxiliary verb",
        _words(
            "am", "are", "be", "been", "being", "can", "could", "did", "do", "does", "had", "has",
            "have", "is", "may", "might", "must", "shall", "should", "was", "were", "will", "would",
        ),
    ),
}  # fmt: skip
"""By the names that patterns use; a token may be of several. Words are those of English."""


@lru_cache(maxsize=2**17)
def classes_of(token: str) -> tuple[bool, ...]:
    """Whether a token is of each of `CLASSES`."""
    return tuple(kind.has(token) for kind in CLASSES.values())


def spellings(token: str) -> list[str]:
    """How a token that somebody wrote may be spelt: as it is, with a space before it, without."""
    return list(dict.fromkeys((token, f" {token.strip()}", token.strip())))
