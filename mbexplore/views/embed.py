"""Sentence vectors, and how near the texts are to one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Headline, Heat, Note, Table
from mbexplore.display.data import Arrays, pick
from mbexplore.text import quoted, shortened
from mbexplore.views.view import Guide, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.embed import Embeddings
    from mbexplore.session import Session

LETTERS = 40
"""Most letters of a text in a label."""


class EmbedView(View["Embeddings"]):
    """A sentence vector for each text, and the cosine between every two.

    Needs no head, so a bare encoder will do.
    """

    name = "embed"
    title = "Similarity"
    question = "How near are the texts to one another?"
    guide = Guide(
        "A vector for each text, and how near any two of them are.",
        "1 is the same direction; compare the numbers with one another, not with 0.",
        "Take the vector of [CLS] in place of the mean.",
        values={"pooling": "cls"},
        texts=("The tide rises.", "The sea comes in.", "He paid the bill."),
    )
    evidence = "output"
    tested = "against transformers, with and without a pooling of their own"
    group = "Versus"
    place = 2
    papers = cited("reimers2019sentence")
    limits = (
        "Vectors of a model that wasn't trained to compare texts all point much the same way: "
        "compare cosines with one another, not with 0."
    )
    reads = "texts"
    example = '"The tide rises." "The sea comes in." "He paid the bill."'

    pooling: str | None = option(
        "mean, cls, max, lasttoken, weightedmean or mean_sqrt_len_tokens; by default what the "
        "model's own sentence-transformers files say, or mean.",
        default=None,
    )
    prompt: str | None = option(
        "A prompt of the model to put before each text, by its name.", default=None
    )

    def compute(self, session: Session) -> Embeddings:
        """Each text alone."""
        from mbexplore.analysis.embed import embed

        return embed(
            session.explorer, session.texts, self.pooling, prompt=self.prompt,
            truncate=session.truncate,
        )  # fmt: skip

    def check(self, session: Session) -> None:
        """Leaves it to `rows`, where texts are cut to what the model's folder says."""

    def rows(self, sessions: Sequence[Session]) -> Iterator[list[dict[str, Any]]]:
        """The vector of each text, packed side by side."""
        from mbexplore.analysis.embed import embed_many

        [*texts] = (session.texts[0] for session in sessions)
        vectors = embed_many(
            sessions[0].explorer, texts, self.pooling, prompt=self.prompt,
            truncate=sessions[0].truncate,
        )  # fmt: skip
        for vector in vectors:
            yield [{"vector": vector.tolist()}]

    def blocks(self, found: Embeddings, session: Session) -> Iterator[Block]:
        """The nearest two, the cosines, and the nearest text to each."""
        import numpy as np

        cosine = found.cosine.float().cpu().numpy()
        count, hidden = found.vectors.shape
        prompt = "" if found.prompt is None else f", prompt {quoted(found.prompt)}"
        about = f"vectors of {hidden:,} numbers, {found.pooling}{prompt}"
        if count == 1:
            yield Headline(f"One text, {about}.")
            return
        others = cosine - 2 * np.eye(count)  # a text is no neighbour of itself
        a, b = (int(i) for i in np.unravel_index(others.argmax(), cosine.shape))
        yield Headline(
            f"{quoted(found.texts[a])} is nearest to {quoted(found.texts[b])}: cosine "
            f"{cosine[a, b]:.3f}."
        )
        numbers = tuple(map(str, range(count)))
        yield Heat(
            cosine,
            tuple(f"{i} {text}"[:LETTERS] for i, text in enumerate(found.texts)),
            numbers,
            title=f"Cosine between {count:,} {about}",
            row_axis="text",
            column_axis="text",
            hue="global",
            low=float(np.floor(10 * cosine.min()) / 10),
            high=1.0,
            unit="cosine",
            texts=tuple(tuple(f"{value:.3f}" for value in row) for row in cosine),
        )
        nearest = others.argmax(axis=1).tolist()
        short = [shortened(text, LETTERS) for text in found.texts]
        rows = tuple((i, short[i], short[n], float(cosine[i, n])) for i, n in enumerate(nearest))
        columns = ("number", "text", "nearest text", "cosine")
        yield Table(columns, rows, left=columns[1:3])
        cut = sum(encoding.is_cut for encoding in found.encodings)
        yield Note(self.limits + (f" {cut:,} of the texts were cut." if cut else ""))

    def to_json(self, found: Embeddings) -> dict[str, Any]:
        """The vectors and the cosines."""
        return pick(found, "pooling", "prompt", "texts", "vectors", "cosine")

    def arrays(self, found: Embeddings) -> Arrays:
        """The vectors (text, hidden), the cosines (text, text) and the texts."""
        import numpy as np

        return {
            "vectors": found.vectors.cpu().numpy(),
            "cosine": found.cosine.cpu().numpy(),
            "texts": np.array(found.texts),
        }

    def table(self, found: Embeddings, session: Session) -> Table:
        """A row for each text with its cosine to every other."""
        pairs = zip(found.texts, found.cosine.tolist(), strict=True)
        names = (f"cosine_{i}" for i in range(len(found.texts)))
        return Table(("text", *names), tuple((text, *row) for text, row in pairs))
