"""The model and the text that it read: all that is slow, for threads to do. Draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING

from mbexplore.errors import MbexploreError
from mbexplore.explore.state import Bounds
from mbexplore.explore.threads import Stop

if TYPE_CHECKING:
    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.explorer import Answer, Comparison, Explorer
    from mbexplore.session import Session

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the steps done, and all there are."""

KEEP = ("attention", "values", "hidden_states", "neurons", "updates")
"""What every pane together reads from a recording."""


@dataclass(frozen=True, eq=False)
class Run:
    """A text as the model read it.

    Attributes:
        session: the text under the model, with what panes computed of it.
        is_recorded: whether the session has its recording.
        answer: ours at every mask; None without a mask or an MLM head.
        why: the sentence that says why there is no answer.
        comparison: Hugging Face's answer, once it is there.
    """

    session: Session
    is_recorded: bool = False
    answer: Answer | None = None
    why: str = ""
    comparison: Comparison | None = None

    @property
    def explorer(self) -> Explorer:
        """The model."""
        return self.session.explorer

    @property
    def encoding(self) -> Encoding:
        """The text."""
        return self.session.encoding

    @property
    def bounds(self) -> Bounds:
        """What there is to move in."""
        return self.session.once("bounds", self._bounds)

    def _bounds(self) -> Bounds:
        from mbexplore.analysis.token_spans import word_spans

        config, encoding = self.explorer.model.config, self.encoding
        return Bounds(
            config.layer_kinds,
            config.num_attention_heads,
            len(encoding),
            tuple(word_spans(encoding)),
            frozenset(i for i, word in enumerate(encoding.words) if word is None)
            - frozenset(encoding.mask_positions),
        )


class Runner:
    """Opens the model and runs texts through it, one forward pass at a time."""

    def __init__(
        self, name: str | None, device: str = "auto", dtype: str = "float32", truncate: bool = False
    ) -> None:
        self._name, self._device, self._dtype = name, device, dtype
        self._truncate = truncate
        self._forward, self._hf = Lock(), Lock()

    def open(self, stop: Stop, progress: Progress) -> Explorer:
        """Loads the model, or says in one sentence why it can't be.

        Raises:
            MbexploreError: see `explorer.load`.
        """
        progress("loading PyTorch", 0, 3)
        from mbexplore.explorer import load

        stop.check()
        progress("opening the model", 1, 3)
        explorer = load(self._name, device=self._device, dtype=self._dtype)
        stop.check()
        progress("getting the views ready", 2, 3)
        import_module("mbexplore.display.terminal")
        return explorer

    def predict(self, explorer: Explorer, text: str, stop: Stop, progress: Progress) -> Run:
        """Our answer, without anything kept: the first thing to be seen.

        Raises:
            MbexploreError: the text is empty or too long.
        """
        from mbexplore.session import Session

        session = Session(explorer, text, truncate=self._truncate, keep=KEEP)
        encoding = session.encoding
        try:
            explorer.masked_lm()
        except MbexploreError as error:
            return Run(session, why=str(error))
        if not encoding.mask_positions:
            mask = explorer.tokenizer.mask_token
            return Run(session, why=f"No {mask} in the text: m masks the chosen token.")
        with self._watched(explorer, stop, progress, "predicting"):
            answer = explorer.fill_masks(encoding)
        return Run(session, answer=answer)

    def record(self, run: Run, stop: Stop, progress: Progress) -> Run:
        """The same text with everything kept that the panes look at."""
        with self._watched(run.explorer, stop, progress, "recording"):
            run.session.recording(*KEEP)
        return replace(run, is_recorded=True)

    def compare(self, run: Run, stop: Stop) -> Run:
        """The same text through transformers; loads it when first asked."""
        assert run.answer is not None
        with self._hf:
            stop.check()
            return replace(run, comparison=run.explorer.compare_with_transformers(run.answer))

    @contextmanager
    def _watched(
        self, explorer: Explorer, stop: Stop, progress: Progress, what: str
    ) -> Iterator[None]:
        """A forward pass that tells each layer it has done, and ends at the next when stopped.

        One pass runs at a time: two would share the cores.
        """
        from mbexplore.hooks import watched

        def after_layer(done: int, layers: int) -> None:
            stop.check()
            progress(what, done, layers)

        with self._forward:
            stop.check()
            with watched(explorer.model, after_layer):
                yield
