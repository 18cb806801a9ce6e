"""The `tokenizers` library behind one guard: a folder's tokenizer.json with its special tokens.

What the files beside it say of special and added tokens is applied as transformers'
`TokenizersBackend` does, which opens every ModernBERT there, so that the ids are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from mbexplore.checkpoints.folder import TOKENIZER_FILE
from mbexplore.errors import ModelError
from mbexplore.reading import read_bytes, read_optional_json
from mbexplore.text import quoted

NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
"""Of the special tokens that have one; the files call them `cls_token` and so on."""
_MOST_BYTES = 256 * 2**20
_MOST_GROWTH = 1_000
_EXTRA, _OLD_EXTRA = "extra_special_tokens", "additional_special_tokens"
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
Token = str | AddedToken


@contextmanager
def guarded(sentence: str) -> Iterator[None]:
    """Turns whatever `tokenizers` raises into one sentence: plain exceptions and Rust's panics.

    Args:
        sentence: what can't be done; the library's reason and the remedy follow.

    Raises:
        ModelError: the library failed.
    """
    try:
        yield
    except Exception as error:
        reason = str(error)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of pyo3, which exports no name for it
            raise
        reason = str(error)
    else:
        return
    raise ModelError(f"{sentence} ({reason.strip()}); copy it again.") from None


def read_backend(folder: Path) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """The tokenizer of a folder, and its special tokens by name.

    Raises:
        ModelError: tokenizer.json is missing, or one of the files can't be read or used.
    """
    path = folder / TOKENIZER_FILE
    try:
        content = read_bytes(path, _MOST_BYTES)
    except FileNotFoundError:
        raise ModelError(
            f"{folder} has no {TOKENIZER_FILE}; copy it from the model's source."
        ) from None
    with guarded(f"{path} can't be read"):
        inner = tokenizers.Tokenizer.from_buffer(content)
    _check_parts(path, inner)
    inner.no_truncation()
    inner.no_padding()
    return inner, _apply_special_tokens(inner, folder)


def _check_parts(path: Path, inner: tokenizers.Tokenizer) -> None:
    """Refuses a step that `tokenizers` opens and then breaks on, or hardly comes to an end with.

    Raises:
        ModelError: the sentence names the step.
    """
    growth = 1.0
    for part in (inner.normalizer, inner.pre_tokenizer):
        for step in _steps({} if part is None else json.loads(part.__getstate__())):
            if step.get("type") == "FixedLength" and not step.get("length"):
                raise ModelError(f"{path} cuts texts into parts of no length; copy it again.")
            if step.get("type") == "Replace":
                sought = step["pattern"].get("String") or "?"  # of an expression: one character
                growth *= max(1.0, len(step["content"]) / len(sought))
    if growth > _MOST_GROWTH:
        raise ModelError(
            f"{path} makes texts up to {growth:.0e} times longer by its Replace steps; copy it "
            "again."
        )


def _steps(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The single steps of a normalizer or pre-tokenizer, which may be a sequence of sequences."""
    below = part.get("normalizers") or part.get("pretokenizers")
    if below is None:
        yield part
    for step in below or ():
        yield from _steps(step)


def _apply_special_tokens(inner: tokenizers.Tokenizer, folder: Path) -> dict[str, str]:
    """Adds the tokens that the files beside tokenizer.json name; returns those with a name.

    Raises:
        ModelError: a file holds what is no token.
    """
    values = read_optional_json(folder / "tokenizer_config.json")
    if _OLD_EXTRA in values and not values.get(_EXTRA):
        values[_EXTRA] = values.pop(_OLD_EXTRA)
    in_file = inner.get_added_tokens_decoder()
    decoder = values.get("added_tokens_decoder")
    if decoder is not None:
        items = decoder.items() if isinstance(decoder, dict) else [(0, decoder)]
        added = {_index(index): _added_token(token) for index, token in items}
    else:  # files of older versions, which count only where that key is missing
        _merge(values, read_optional_json(folder / "special_tokens_map.json"))
        special = {_content(token) for token in _named(values) + _extra(values)}
        listed = read_optional_json(folder / "added_tokens.json").items()
        added = {
            _index(index): AddedToken(
                content, normalized=content not in special, special=content in special
            )
            for content, index in listed
        } | in_file
    known = {token.content: token for token in added.values()}
    named = [known.get(_content(token), token) for token in _named(values)]
    for token in _missing(in_file, added, [*named, *_extra(values)]):
        if token.content in map(_content, named):
            token.special = True
        with guarded(f"The files of {folder} add {quoted(token.content)}, which is no token"):
            inner.add_tokens([token])
    inner.encode_special_tokens = bool(values.get("split_special_tokens"))
    tokens = {name: values.get(f"{name}_token") for name in NAMES}
    return {name: _content(_token(one)) for name, one in tokens.items() if one is not None}


def _missing(
    in_file: dict[int, AddedToken], added: dict[int, AddedToken], wanted: list[Token]
) -> Iterator[AddedToken]:
    """What tokenizer.json lacks: tokens of other properties, then those of another name.

    One that is wanted twice, with other properties, comes twice: the last counts.
    """
    as_in_file = {repr(token) for token in in_file.values()}
    there = {token.content for token in in_file.values()}
    for _, token in sorted(added.items()):
        if repr(token) not in as_in_file:
            there.add(token.content)
            yield token
    for i, one in enumerate(wanted):
        if _content(one) not in there and one not in wanted[:i]:
            yield AddedToken(one, special=True) if isinstance(one, str) else one


def _merge(values: dict[str, Any], of_map: dict[str, Any]) -> None:
    """Puts what special_tokens_map.json holds over what tokenizer_config.json does."""
    for key, value in of_map.items():
        if key == _EXTRA and isinstance(value, list):
            there = values.get(_EXTRA) or []
            special = [x | {"special": True} if isinstance(x, dict) else x for x in value]
            value = [*there, *(token for token in special if token not in there)]
        values[key] = value | {"special": True} if isinstance(value, dict) else value
    if _OLD_EXTRA in values and _EXTRA not in values:
        values[_EXTRA] = values.pop(_OLD_EXTRA)


def _named(values: dict[str, Any]) -> list[Token]:
    """The tokens that have a name, transformers' seven first."""
    keys = [f"{name}_token" for name in NAMES]
    more = [key for key in values if key.endswith("_token") and key not in keys]
    keys += [key for key in more if isinstance(values[key], (str, dict))]
    extra = values.get(_EXTRA)
    tokens = [values.get(key) for key in keys]
    tokens += list(extra.values()) if isinstance(extra, dict) else []
    return [_token(token) for token in tokens if token is not None]


def _extra(values: dict[str, Any]) -> list[Token]:
    """The tokens that are special and have no name."""
    more = values.get(_EXTRA)
    return [_token(token) for token in more] if isinstance(more, list) else []


def _token(value: Any) -> Token:
    return value if isinstance(value, str) else _added_token(value)


def _added_token(value: Any) -> AddedToken:
    """An added token, of an object with its content and how it is sought in a text."""
    fields = dict(value) if isinstance(value, dict) else {}
    flags = {name: fields.pop(name, None) for name in _FLAGS}
    flags = {name: flag for name, flag in flags.items() if flag is not None}
    content = fields.get("content")
    if not isinstance(content, str) or not all(isinstance(flag, bool) for flag in flags.values()):
        raise ModelError(
            f"The tokenizer's files name {quoted(value)} as a token; it must be text, or an object "
            "with its content and what holds for it."
        )
    return AddedToken(content, **flags)


def _content(token: Token) -> str:
    return token if isinstance(token, str) else str(token.content)


def _index(value: Any) -> int:
    try:
        index = int(value)
    except (TypeError, ValueError):
        index = -1
    if not 0 <= index < 2**32:
        raise ModelError(
            f"The tokenizer's files give a token the id {quoted(value)}; it must be a whole number."
        )
    return index
