"""A text under a model, with what was computed for it: each thing once.

Every front end works on one. The command line makes one and throws it away, the page keeps one a
person and text, the terminal explorer one a text, and a method of `Explorer` one a call.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer, load
from mbexplore.hooks import Progress, watched
from mbexplore.recorder import kept_taps
from mbexplore.recording import Recording

Made = TypeVar("Made")

KEPT = 64
"""Results kept of one text; the longest unused goes first. The recording stays."""
KEPT_BYTES = 256 * 2**20
"""Bytes of the arrays in those results; the newest stays, however large."""
FEW = 16
"""Values that may be of any kinds; longer sequences hold values of one."""


Reserve = Callable[[Encoding, Explorer], AbstractContextManager[None]]


@contextmanager
def nothing_reserved(encoding: Encoding, explorer: Explorer) -> Iterator[None]:
    """Room for a recording where memory isn't shared."""
    yield


def ignore_progress(done: int, total: int) -> None:
    """Reports no progress."""


class Session:
    """One text under one model.

    Attributes:
        explorer: the model; shared, read-only.
        texts: what is looked at: one text for most views.
        context: the second text of a pair, for a model that takes two.
        progress: called with the steps done and all there are; what it raises ends the work.
        keep: what a recording keeps at least, so that views to come find it.
    """

    def __init__(
        self,
        explorer: Explorer,
        text: str | Encoding | Sequence[str] = (),
        *,
        context: str | None = None,
        truncate: bool = False,
        keep: Collection[str] = (),
        progress: Progress = ignore_progress,
        open_model: Callable[[str], Explorer] | None = None,
        recording: Recording | None = None,
        reserve: Reserve = nothing_reserved,
    ) -> None:
        self.explorer = explorer
        self._given = text
        self.texts: tuple[str, ...] = (
            (text,)
            if isinstance(text, str)
            else (text.text,)
            if isinstance(text, Encoding)
            else tuple(text)
        )
        self.context, self.truncate = context, truncate
        self.progress = progress
        self.keep = tuple(keep)
        self._open_model = open_model
        self._reserve = reserve
        self._made: OrderedDict[Hashable, Any] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._locks: defaultdict[Hashable, threading.RLock] = defaultdict(threading.RLock)
        self._lock = threading.Lock()
        self._recording = recording
        self._recording_lock = threading.RLock()

    @cached_property
    def encoding(self) -> Encoding:
        """The one text and its tokens.

        Raises:
            TextError: there are several, or it is empty or too long.
        """
        if isinstance(self._given, Encoding):
            return self._given
        if len(self.texts) != 1:
            raise TextError(f"{len(self.texts)} texts were given and one is looked at; give one.")
        return self.explorer.encode(self.texts[0], pair=self.context, truncate=self.truncate)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` gives, made once for this key and kept; other threads wait for it."""
        with self._lock:
            lock = self._locks[key]
        with lock:
            with self._lock:
                if key in self._made:
                    self._made.move_to_end(key)
                    found: Made = self._made[key]
                    return found
            made = make()
            size = size_of_arrays(made)
            with self._lock:
                self._made[key], self._sizes[key] = made, size
                while len(self._made) > KEPT or (
                    len(self._made) > 1 and sum(self._sizes.values()) > KEPT_BYTES
                ):
                    gone, _ = self._made.popitem(last=False)
                    self._locks.pop(gone, None)
                    del self._sizes[gone]
            return made

    def put(self, key: Hashable, made: Any) -> None:
        """Keeps what was made for this key together with that of other texts."""
        self.once(key, lambda: made)

    def recording(self, *keep: str) -> Recording:
        """One forward pass over the text with what is asked for kept; run again only for more.

        Raises:
            MbexploreError: see `Explorer.record`.
        """
        with self._recording_lock:
            have = self.kept(*keep)
            if have is None:
                self.keep = tuple(dict.fromkeys((*self.keep, *keep)))
                with self._reserve(self.encoding, self.explorer), self.counting():
                    have = self._recording = self.explorer.record(self.encoding, keep=self.keep)
            return have

    def kept(self, *keep: str) -> Recording | None:
        """The recording that is there, if it has all of this; runs nothing."""
        have = self._recording
        return have if have is not None and set(self._taps(keep)) <= have.values.keys() else None

    def _taps(self, keep: Collection[str]) -> list[str]:
        return kept_taps(self.explorer.model, keep)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Reports the layers of every forward pass in the block as progress."""
        with watched(self.explorer.model, self.progress):
            yield

    def token(self, which: int | str | None) -> int | None:
        """The position of a token.

        Args:
            which: its position, or a word of the text; None stays None.

        Raises:
            RangeError: there is no such token.
        """
        from mbexplore.analysis.token_spans import find_token_position

        return None if which is None else find_token_position(self.encoding, str(which))

    def focus(self, which: int | str | None = None) -> int:
        """The position of a token; for None the first mask, or else the first token."""
        position = self.token(which)
        if position is not None:
            return position
        masks = self.encoding.mask_positions
        return masks[0] if masks else 0

    def answer_position(self, selected: int | None) -> int | None:
        """The position whose answer a view explains where `selected` is merely looked at.

        Args:
            selected: a token, or None.

        Returns:
            None for the model's own choice: the first mask, or the whole text.
        """
        from mbexplore.network.heads import ClassifierModel, ModernBertForTokenClassification

        model = self.explorer.model
        if isinstance(model, ClassifierModel):
            if not isinstance(model, ModernBertForTokenClassification):
                return None
            return selected if selected is not None and selected < len(self.encoding) else 0
        masks = self.encoding.mask_positions
        return selected if selected in masks[1:] or not masks else None

    def beside(
        self, text: str | tuple[str, ...] | None = None, model: str | None = None
    ) -> Session:
        """A session of other texts, or under another model, that reports its progress here.

        Args:
            text: one or several; None for this session's own.
            model: None for this session's own.

        Raises:
            ModelError: the model can't be opened.
        """

        def make() -> Session:
            explorer = self.explorer
            if model is not None:
                explorer = (self._open_model or self._load)(model)
            return Session(
                explorer,
                self.texts if text is None else text,
                context=self.context,
                truncate=self.truncate,
                keep=self.keep,
                progress=self.progress,
                open_model=self._open_model,
                reserve=self._reserve,
            )

        return self.once(("beside", text, model), make)

    def _load(self, name: str) -> Explorer:
        info = self.explorer.info
        return load(name, device=info.device.partition(":")[0], dtype=info.dtype)

    def answers(self) -> list[str]:
        """The model's first choice at each mask; "" where it has none."""
        masks = self.encoding.mask_positions
        logits = self.recording().logits if masks else None
        if logits is None:
            return [""] * len(masks)
        names = map(self.explorer.tokenizer.token, logits.argmax(dim=-1).tolist())
        return [name.strip() for name in names]

    def forget(self) -> None:
        """Lets go of all that was computed: results hold the session, and the session them."""
        with self._lock:
            self._made.clear()
            self._locks.clear()
            self._recording = None

    @property
    def nbytes(self) -> int:
        """Size of the recordings and of the results' arrays that are held."""
        own = self._recording
        size = sum(value.nbytes for value in own.values.values()) if own is not None else 0
        with self._lock:
            beside = [one for one in self._made.values() if isinstance(one, Session)]
            size += sum(self._sizes.values())
        return size + sum(one.nbytes for one in beside)


def size_of_arrays(value: object) -> int:
    """Bytes of the arrays in a result; recordings and sessions count for themselves.

    An encoding has none, and its many small values would take longer to look at than to make.
    """
    size, seen, left = 0, set[int](), [value]
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, Recording | Session | Explorer | Encoding | type):
            continue
        seen.add(id(one))
        if isinstance(one, Tensor | np.ndarray):
            size += one.nbytes
        elif isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, list | tuple):
            left += () if _is_plain(one) else one
        elif dataclasses.is_dataclass(one) or "data" in getattr(one, "__dict__", ()):
            left += getattr(one, "__dict__", {}).values()  # a `Result` has `data` and its blocks
    return size


def _is_plain(values: Sequence[object]) -> bool:
    """Whether these are many of one plain kind, such as a text's tokens or the spans of words."""
    if len(values) <= FEW:
        return False
    first = values[0]
    each = first if isinstance(first, tuple) else (first,)
    return all(isinstance(one, str | int | float) for one in each)


def check_layer(explorer: Explorer, layer: int) -> int:
    """A layer's number, counted from the end where it is negative.

    Raises:
        RangeError: there is no such layer.
    """
    layers = explorer.model.config.num_hidden_layers
    if not -layers <= layer < layers:
        raise RangeError(f"There is no layer {layer}; choose 0 to {layers - 1}.")
    return layer % layers
