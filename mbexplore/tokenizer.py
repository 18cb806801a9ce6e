"""Text to tokens, on `tokenizers` alone. Knows nothing of the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import tokenizers

from mbexplore.errors import ModelError, TextError

_USUAL_MASKS = ("[MASK]", "<mask>")
Span = tuple[int, int]
_ANY_MASK = _USUAL_MASKS[0]  # what every text may write, whatever the model calls it


@dataclass(frozen=True)
class Encoding:
    """A text as the model sees it. All tuples have one entry a token, except `mask_positions`.

    Attributes:
        text: as it was given, with "[MASK]" even where the model's mask has another name.
        ids: token ids, special tokens included.
        tokens: each token as people read it; a leading space belongs to the token.
        offsets: start and end of each token in `text`, in characters; (0, 0) for special tokens.
        words: number of the word each token belongs to; None for special tokens.
        mask_positions: where the mask tokens are.
        full_length: tokens before truncation, or `len(ids)`.
    """

    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    words: tuple[int | None, ...]
    mask_positions: tuple[int, ...]
    full_length: int

    @property
    def is_cut(self) -> bool:
        """Whether the text was longer than the model takes, and was truncated."""
        return len(self) < self.full_length

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer:
    """A `tokenizer.json` with its mask token; read-only.

    Attributes:
        mask_token: what stands for a hidden token in a text, usually "[MASK]"; None if there is
            none.
        mask_token_id: its id.
    """

    def __init__(self, inner: tokenizers.Tokenizer, mask_token: str | None) -> None:
        self._inner = inner
        self._inner.no_truncation()
        self._inner.no_padding()
        self._is_byte_level = "ByteLevel" in type(inner.decoder).__name__
        self.mask_token = mask_token
        self.mask_token_id = None if mask_token is None else inner.token_to_id(mask_token)

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """Reads `folder/tokenizer.json`.

        Raises:
            ModelError: it is missing or can't be read.
        """
        path = folder / "tokenizer.json"
        if not path.exists():
            raise ModelError(f"{folder} has no tokenizer.json; copy it from the model's source.")
        try:
            inner = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelError(f"{path} can't be read ({error}); copy it again.") from None
        return cls(inner, _find_mask_token(folder, inner))

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones included."""
        return int(self._inner.get_vocab_size())

    def id_of(self, token: str) -> int | None:
        """Id of a token spelt as the vocabulary spells it, or None."""
        return self._inner.token_to_id(token)

    def encode(self, text: str, *, limit: int | None = None, truncate: bool = False) -> Encoding:
        """Tokens of `text` with the special ones around it.

        Args:
            text: any text; "[MASK]" in it is the mask, whatever the model's own is called.
            limit: the most tokens the model takes.
            truncate: whether to cut a longer text at the limit, keeping the last special token.

        Raises:
            TextError: the text is empty, or longer than the limit.
        """
        if not text.strip():
            raise TextError("The text is empty; give at least one word.")
        own, place = self._own_mask(text)
        encoded = self._inner.encode(own)
        ids, length = list(encoded.ids), len(encoded.ids)
        picked = list(range(length))
        if limit is not None and length > limit:
            if not truncate:
                raise TextError(
                    f"The text has {length:,} tokens and the model takes {limit:,}; shorten it, "
                    "or cut it with --truncate."
                )
            picked = [*range(limit - 1), length - 1]
        return Encoding(
            text=text,
            ids=tuple(ids[i] for i in picked),
            tokens=tuple(self.token(ids[i]) for i in picked),
            offsets=tuple(place(encoded.offsets[i]) for i in picked),
            words=tuple(encoded.word_ids[i] for i in picked),
            mask_positions=tuple(p for p, i in enumerate(picked) if ids[i] == self.mask_token_id),
            full_length=length,
        )

    def _own_mask(self, text: str) -> tuple[str, Callable[[Span], Span]]:
        """The text with the model's own mask for "[MASK]", and how its spans lie in the given one.

        Where "[MASK]" is a token of the vocabulary, it stays what it is there.
        """
        if self.mask_token is None or self._inner.token_to_id(_ANY_MASK) is not None:
            return text, lambda span: span
        parts = text.split(_ANY_MASK)
        # Where each character of the new text starts and ends in the given one.
        starts: list[int] = [0]
        ends: list[int] = []
        for i, part in enumerate(parts):
            if i:
                old = ends[-1] if ends else 0
                starts += [old] * (len(self.mask_token) - 1) + [old + len(_ANY_MASK)]
                ends += [old + len(_ANY_MASK)] * len(self.mask_token)
            old = starts[-1]
            starts += range(old + 1, old + len(part) + 1)
            ends += range(old + 1, old + len(part) + 1)

        def place(span: Span) -> Span:
            start, end = span
            return (starts[start], ends[end - 1]) if end > start else (starts[start],) * 2

        return self.mask_token.join(parts), place

    def token(self, token_id: int) -> str:
        """A token as people read it: bytes decoded, word marks turned to spaces.

        Bytes that are no whole character are shown as `<0xE2>`.
        """
        piece = self._inner.id_to_token(token_id)
        if piece is None:  # the embedding table may be larger than the vocabulary
            return f"<id {token_id}>"
        if not self._is_byte_level:
            return piece.replace("\N{LOWER ONE EIGHTH BLOCK}", " ")
        table = _byte_of_character()
        if not all(character in table for character in piece):
            return piece  # an added token, spelt plainly
        raw = bytes(table[character] for character in piece)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return "".join(f"<0x{byte:02X}>" for byte in raw)


def _find_mask_token(folder: Path, inner: tokenizers.Tokenizer) -> str | None:
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        token = _read_json(folder / name).get("mask_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and inner.token_to_id(token) is not None:
            return token
    return next((mask for mask in _USUAL_MASKS if inner.token_to_id(mask) is not None), None)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # both files are optional
    return values if isinstance(values, dict) else {}


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    """Byte-level BPE's alphabet: the character that stands for each byte (GPT-2)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(0x100 + i): byte for i, byte in enumerate(others)}
