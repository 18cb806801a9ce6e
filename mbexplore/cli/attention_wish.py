"""What is asked of `mbexplore attention`: whether it agrees with itself, and where in a text it is.

Both are known before the model runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mbexplore.errors import UsageError
from mbexplore.files import DRAWN, PICTURES
from mbexplore.views.names import attention_name

if TYPE_CHECKING:
    from mbexplore.analysis.axis import Axis
    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.network.config import ModernBertConfig

FORMS = ("map", "band", "arcs")

SHARE = 0.7
"""What of each row its arcs carry, unless another share is asked for."""

LINKS = 20
"""How many links are listed, unless another number is asked for."""


@dataclass(frozen=True)
class Wish:
    """The options that say what to look at, as they were typed; see the command's help."""

    layer: str
    head: int | None
    view: str
    mean: bool
    words: bool
    hide_special: bool
    tokens: str | None
    queries: str | None
    keys: str | None
    query: str | None
    links: int
    mass: float

    @property
    def number(self) -> int | None:
        """The layer, None for all."""
        return None if self.layer == "all" else int(self.layer)

    @property
    def form(self) -> str:
        """One of `FORMS`, or "part" for a map cut on either side."""
        return self.view if self.queries is None and self.keys is None else "part"

    @property
    def name(self) -> str:
        """What a file with the answer is called, without its ending."""
        return attention_name(self.form, self.number, self.head)

    def check(self) -> None:
        """Refuses options that are unknown or contradict one another.

        Raises:
            UsageError: says which to leave out.
        """
        if self.layer != "all" and not self.layer.lstrip("-").isdecimal():
            raise UsageError(f"--layer {self.layer!r} is no layer; give a number from 0, or all.")
        if self.view not in FORMS:
            raise UsageError(f"There is no view {self.view!r}; choose {', '.join(FORMS)}.")
        every, is_band, is_part = self.layer == "all", self.view == "band", self.form == "part"
        contradictions = {
            "--layer all is a map of every layer; leave out --view, or name one layer.":
                every and self.view != "map",
            "--layer all has no single query; leave out --query, or name one layer.":
                every and self.query is not None,
            f"--mean is over all heads and --head {self.head} is one of them; give one of the two.":
                self.mean and self.head is not None,
            "--view band counts in tokens and --words merges them; give one of the two.":
                is_band and self.words,
            "--view band shows all queries; leave out --query, or ask for --view arcs.":
                is_band and self.query is not None,
            "--top counts links, which only maps and arcs of one layer list; leave it out.":
                (every or is_band) and self.links != LINKS,
            "--mass is the share of a row that its arcs carry; add --view arcs.":
                self.view != "arcs" and self.mass != SHARE,
            "--queries and --keys cut a map of one layer; name one, without --view.":
                is_part and (every or self.view != "map"),
            "--tokens cuts both sides of a map; give it, or --queries and --keys.":
                is_part and self.tokens is not None,
        }  # fmt: skip
        for sentence, holds in contradictions.items():
            if holds:
                raise UsageError(sentence)

    def formats(self, plot: bool) -> tuple[str, ...]:
        """The endings that a file with the answer may have."""
        return (*PICTURES, "html") if plot else (*DRAWN, "npz", "csv")

    def find(self, encoding: Encoding) -> Sight:
        """Where in the text it is.

        Raises:
            RangeError: a range lies outside, or a word isn't there.
        """
        from mbexplore.analysis.axis import build_axis
        from mbexplore.analysis.token_spans import find_token_position, find_token_range

        rows, columns = (
            build_axis(
                encoding,
                None if bounds is None else find_token_range(encoding, bounds),
                words=self.words,
                hide_special=self.hide_special,
            )
            for bounds in (self.tokens or self.queries, self.tokens or self.keys)
        )
        query = None if self.query is None else find_token_position(encoding, self.query)
        return Sight(self, rows, columns, query)


@dataclass(frozen=True, eq=False)
class Sight:
    """A wish in a text.

    Attributes:
        wish: that was looked up.
        axis: what is shown of the text; of a part, its queries.
        keys: the same, but of a part its keys.
        query: the token that looks, None for all.
    """

    wish: Wish
    axis: Axis
    keys: Axis
    query: int | None

    def check(self, config: ModernBertConfig, path: Path | None) -> None:
        """Refuses what can't be shown of this model, or can't be held by the file wanted.

        Raises:
            RangeError: a band of a global layer, a query that is hidden, or a mass that is no
                share.
            OutputError: the whole maps would be too large a file.
        """
        from mbexplore.views.attention_checks import check_dense, check_form, check_part

        wish, layer = self.wish, self.wish.number
        if layer is None:
            return
        check_form(config, wish.form, layer, self.axis, self.query, wish.mass)
        if path is None or path.suffix.lower() != ".npz":
            return
        if wish.form == "part":
            maps = 1 if wish.mean or wish.head is not None else config.num_attention_heads
            check_part(maps, self.axis, self.keys)
        elif wish.form == "map":
            check_dense(config, layer, wish.head, self.axis, wish.mean)
