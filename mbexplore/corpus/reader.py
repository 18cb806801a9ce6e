"""Reads a finished corpus: DuckDB over the tables that corpus/store.py writes and describes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mbexplore.corpus.dictionary import FILE as DICTIONARY
from mbexplore.corpus.sources import FORMAT, Numbers
from mbexplore.corpus.store import MANIFEST, OF_FEATURES, TABLES, Text
from mbexplore.corpus.tables import arrow
from mbexplore.corpus.token_classes import CLASSES
from mbexplore.errors import ModelError

ROWS = 4096
"""Texts that are read together."""


class Store:
    """A finished corpus, read from its folder by DuckDB.

    Attributes:
        folder: where it is.
        manifest: what it is of.
    """

    def __init__(self, folder: Path) -> None:
        """Opens it.

        Raises:
            ModelError: there is none, it isn't finished, or another version wrote it.
        """
        self.folder = folder
        try:
            self.manifest = json.loads((folder / MANIFEST).read_bytes())
        except FileNotFoundError:
            raise ModelError(
                f"{folder} holds no finished corpus; build one with mbexplore corpus build."
            ) from None
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder / MANIFEST} can't be read ({error}); build it again."
            ) from None
        if self.manifest.get("format") != FORMAT:
            raise ModelError(
                f"The corpus in {folder} was written by another version of mbexplore; build it "
                "again."
            )

    @property
    def dictionary(self) -> Path:
        """Where the dictionary is that features are of, if there is one."""
        return self.folder / DICTIONARY

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """What its texts are from, by the source's key."""
        return {one["key"]: one for one in self.manifest["sources"]}

    def texts(self) -> Iterator[Text]:
        """Those that examples are of, a few in memory at a time.

        Raises:
            ModelError: the table is missing or broken.
        """
        numbers = Numbers(self.sources)
        for row in self._batches("texts"):
            yield Text(numbers.key_of(row["text"]), row["id"], row["content"], row["tokens"])

    def _batches(self, table: str) -> Iterator[dict[str, Any]]:
        pyarrow, parquet = arrow()
        path = self.folder / f"{table}.parquet"
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=ROWS):
                    yield from batch.to_pylist()
        except (OSError, pyarrow.ArrowException) as error:
            raise ModelError(f"{path} can't be read ({error}); build it again.") from None

    @cached_property
    def _tables(self) -> Any:
        """The tables as DuckDB's, each under its name; nothing is fetched from anywhere."""
        import duckdb

        here = duckdb.connect(config={
            "threads": 1,  # rows in their order
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        })  # fmt: skip
        there = [self.folder / f"{name}.parquet" for name in (*TABLES, *OF_FEATURES)]
        for path in filter(Path.is_file, there):
            plain = re.sub(r"[*?\[]", r"[\g<0>]", str(path)).replace("'", "''")
            try:
                here.execute(f"CREATE VIEW {path.stem} AS FROM read_parquet('{plain}')")
            except duckdb.Error as error:
                raise ModelError(f"{path} can't be read ({error}); build it again.") from None
        return here

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows that DuckDB finds in the tables, as dictionaries.

        Args:
            sql: in which each of `TABLES` is a table.
            values: for its question marks.

        Raises:
            ModelError: a table is missing or broken.
        """
        import duckdb

        try:
            found = self._tables.cursor().execute(sql, list(values))  # threads each have their own
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except (duckdb.IOException, duckdb.CatalogException) as error:
            raise ModelError(f"{self.folder} can't be read ({error}); build it again.") from None

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """Rows of a table in their order, as dictionaries.

        Args:
            table: one of `TABLES`.
            where: values of columns; one of several where it is a list.

        Raises:
            ModelError: a table is missing or broken.
        """
        tests = [f"{name} {'= ANY(?)' if isinstance(value, list) else '= ?'}"
                 for name, value in where.items()]  # fmt: skip
        condition = f" WHERE {' AND '.join(tests)}" if tests else ""
        return self.query(f"FROM {table}{condition}", list(where.values()))

    @cached_property
    def token_shares(self) -> dict[str, float]:
        """Of the tokens of the texts that are kept, the share of each."""
        counts = self.query(
            "SELECT token, count(*) AS n FROM (SELECT unnest(tokens) AS token FROM texts) "
            "GROUP BY token"
        )
        total = sum(one["n"] for one in counts)
        return {one["token"]: one["n"] / total for one in counts}

    @cached_property
    def class_shares(self) -> dict[str, float]:
        """Of the same tokens, the share of each class."""
        sums = ", ".join(
            f"count(*) FILTER (regexp_full_match(token, ?)) / count(*) AS {name}"
            for name in CLASSES
        )
        [shares] = self.query(
            f"SELECT {sums} FROM (SELECT unnest(tokens) AS token FROM texts)",
            [one.pattern for one in CLASSES.values()],
        )
        return shares
