"""Text to tokens, on `tokenizers` alone. Knows nothing of the model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import tokenizers

from mbexplore.checkpoints.backend import guarded, read_backend
from mbexplore.errors import TextError

_USUAL = {"mask": ("[MASK]", "<mask>"), "pad": ("[PAD]", "<pad>"), "unk": ("[UNK]", "<unk>")}
Span = tuple[int, int]
_ANY_MASK = _USUAL["mask"][0]  # what every text may write, whatever the model calls it
_HALF = re.compile("[\ud800-\udfff]")  # of a character: text of JSON or a browser may hold one


@dataclass(frozen=True)
class Encoding:
    """A text as the model sees it. All tuples have one entry a token, except `mask_positions`.

    Attributes:
        text: as it was given, with "[MASK]" even where the model's mask has another name; of a pair
            both texts, a line break between them.
        ids: token ids, special tokens included.
        tokens: each token as people read it; a leading space belongs to the token.
        offsets: start and end of each token in `text`, in characters; (0, 0) for special tokens.
        words: number of the word each token belongs to; None for special tokens.
        mask_positions: where the mask tokens are.
        full_length: tokens before truncation, or `len(ids)`.
        pair_start: where in `text` the second text of a pair starts; None for a single one.
        cls_id: id of the special token that the tokenizer puts first, usually [CLS]; None for none.
        sep_id: id of the one that it puts last, usually [SEP].
    """

    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    words: tuple[int | None, ...]
    mask_positions: tuple[int, ...]
    full_length: int
    pair_start: int | None = None
    cls_id: int | None = None
    sep_id: int | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the text was longer than the model takes, and was truncated."""
        return len(self) < self.full_length

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, or the two of a pair."""
        start = self.pair_start
        return (self.text,) if start is None else (self.text[: start - 1], self.text[start:])

    @property
    def context(self) -> str | None:
        """The second text of a pair; None for a single one."""
        return None if self.pair_start is None else self.texts[1]

    @property
    def pair_positions(self) -> tuple[int, ...]:
        """Which tokens belong to the second text of a pair, its special ones left out."""
        if self.pair_start is None:
            return ()
        places = zip(self.words, self.offsets, strict=True)
        return tuple(
            i for i, (word, (start, _)) in enumerate(places)
            if word is not None and start >= self.pair_start
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the tokens that stand around a text, pad a batch, hide a word; None for none.

    `unk` stands for what the vocabulary can't spell.

    They are the tokenizer's: config.json repeats them, and may be wrong.
    """

    cls: int | None
    sep: int | None
    pad: int | None
    mask: int | None
    unk: int | None = None


class Tokenizer:
    """A `tokenizer.json` with its special tokens; read-only.

    Attributes:
        special_ids: ids of the special tokens, by what they are for.
        mask_token: what stands for a hidden token in a text, usually "[MASK]"; None if there is
            none.
        mask_token_id: its id.
    """

    def __init__(
        self,
        inner: tokenizers.Tokenizer,
        mask_token: str | None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._inner = inner
        self._shown: dict[int, str] = {}  # what `token` gave
        self._inner.no_truncation()
        self._inner.no_padding()
        self._is_byte_level = "ByteLevel" in type(inner.decoder).__name__
        self.mask_token = mask_token
        self.special_ids = _find_special_ids(inner, dict(names or {}) | {"mask": mask_token})
        self.mask_token_id = self.special_ids.mask

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """Reads `folder/tokenizer.json` and what the files beside it say of special tokens.

        Raises:
            ModelError: a file is missing or can't be read.
        """
        inner, names = read_backend(folder)
        for name, usual in _USUAL.items():
            there = [token for token in usual if inner.token_to_id(token) is not None]
            if there:
                names.setdefault(name, there[0])
        return cls(inner, names.get("mask"), names)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones included."""
        return int(self._inner.get_vocab_size())

    @property
    def sha256(self) -> str:
        """Hash of all that it does, as tokenizer.json says it."""
        return hashlib.sha256(self._inner.to_str().encode()).hexdigest()

    def id_of(self, token: str) -> int | None:
        """Id of a token spelt as the vocabulary spells it, or None."""
        return self._inner.token_to_id(token)

    def encode(
        self,
        text: str,
        *,
        pair: str | None = None,
        limit: int | None = None,
        truncate: bool = False,
    ) -> Encoding:
        """Tokens of `text` with the special ones around it.

        Args:
            text: any text; "[MASK]" in it is the mask, whatever the model's own is called.
            pair: a second text after it, as question and context; the tokenizer says what stands
                between them, usually [SEP].
            limit: the most tokens the model takes.
            truncate: whether to cut a longer text at the limit, keeping the last special token.

        Raises:
            TextError: a text is empty, or no Unicode, or they are longer than the limit, or the
                second of a pair would be cut away whole.
        """
        _check(text, pair)
        own, place = self._own_mask(text)
        other, place_other = (None, place) if pair is None else self._own_mask(pair)
        with guarded("The tokenizer can't split this text by its tokenizer.json"):
            encoded = self._inner.encode(own, other)
        # Each look at one of these makes the whole list anew.
        ids, words, spans = encoded.ids, encoded.word_ids, encoded.offsets
        if not ids:
            raise TextError("The tokenizer makes nothing of this text; give at least one word.")
        start = None if pair is None else len(text) + 1
        picked = _pick(len(ids), limit, truncate)
        if start is None:
            spans = list(map(place, spans))
        else:
            sides = encoded.sequence_ids
            if not any(sides[i] == 1 for i in picked):
                raise TextError(
                    f"Nothing is left of the second text within the {len(picked):,} tokens that "
                    "the model takes; shorten the first."
                )
            both = zip(sides, spans, strict=True)
            spans = [(place_other if side == 1 else place)(span) for side, span in both]
            _go_on(sides, spans, words, start)
        full_length = len(ids)
        if len(picked) < full_length:
            ids, words = [ids[i] for i in picked], [words[i] for i in picked]
            spans = [spans[i] for i in picked]
        return Encoding(
            text=text if pair is None else f"{text}\n{pair}",
            ids=tuple(ids),
            tokens=tuple(map(self.token, ids)),
            offsets=tuple(spans),
            words=tuple(words),
            mask_positions=tuple(i for i, token in enumerate(ids) if token == self.mask_token_id),
            full_length=full_length,
            pair_start=start,
            cls_id=self.special_ids.cls,
            sep_id=self.special_ids.sep,
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
        token = self._shown.get(token_id)
        if token is None:
            token = self._shown[token_id] = self._decoded(token_id)
        return token

    def _decoded(self, token_id: int) -> str:
        piece = self._inner.id_to_token(token_id) if 0 <= token_id < 2**32 else None
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


def _check(text: str, pair: str | None) -> None:
    """Refuses what no tokenizer should see."""
    if not text.strip() or (pair is not None and not pair.strip()):
        which = "text" if not text.strip() else "second text"
        raise TextError(f"The {which} is empty; give at least one word.")
    if half := _HALF.search(text + (pair or "")):
        raise TextError(
            f"The text has half of a character in it (U+{ord(half[0]):04X}); take that out."
        )


def _pick(length: int, limit: int | None, truncate: bool) -> list[int]:
    """The tokens to keep: all, or the first ones up to the limit with the last special token.

    Raises:
        TextError: there are too many, and they are not to be cut.
    """
    if limit is None or length <= limit:
        return list(range(length))
    if not truncate:
        raise TextError(
            f"The text has {length:,} tokens and the model takes {limit:,}; shorten it, or cut it "
            "with --truncate."
        )
    return [*range(limit - 1), length - 1]


def _go_on(sides: list[int | None], spans: list[Span], words: list[int | None], start: int) -> None:
    """Counts the places and words of a second text on from those of the first."""
    first = [word for side, word in zip(sides, words, strict=True) if side == 0]
    before = 1 + max((word for word in first if word is not None), default=-1)
    for i, ((low, high), word) in enumerate(zip(spans, words, strict=True)):
        if sides[i] == 1:
            spans[i] = (start + low, start + high)
            words[i] = None if word is None else before + word


def _find_special_ids(inner: tokenizers.Tokenizer, names: Mapping[str, str | None]) -> SpecialIds:
    """Ids by what they are for: at the ends of a text those that the tokenizer puts there."""
    ids = {
        name: None if token is None else inner.token_to_id(token) for name, token in names.items()
    }
    first = ids.get("cls") if ids.get("cls") is not None else ids.get("bos")
    last = ids.get("sep") if ids.get("sep") is not None else ids.get("eos")
    if inner.post_processor is not None:
        with guarded("The tokenizer can't put special tokens around a text"):
            around = inner.post_process(inner.encode("", add_special_tokens=False)).ids
        if len(around) > 1:
            first, last = around[0], around[-1]
        elif around:
            first, last = (None, around[0]) if around[0] == last else (around[0], None)
    unk = ids.get("unk")
    if unk is None and (token := getattr(inner.model, "unk_token", None)):
        unk = inner.token_to_id(token)
    return SpecialIds(cls=first, sep=last, pad=ids.get("pad"), mask=ids.get("mask"), unk=unk)


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    """Byte-level BPE's alphabet: the character that stands for each byte (GPT-2)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(0x100 + i): byte for i, byte in enumerate(others)}
