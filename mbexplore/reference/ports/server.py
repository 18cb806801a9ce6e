"""Embeddings from a server that the user names: TEI's /embed, OpenAI's form, a Gradio endpoint."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from mbexplore.errors import ModelError
from mbexplore.reference.ports.implementation import Implementation, Unable
from mbexplore.reference.ports.suite import Case
from mbexplore.reference.ports.values import POOLED
from mbexplore.text import quoted, shortened

SECONDS = 120
MOST_BYTES = 2**28
"""Of an answer."""


class Server(Implementation):
    """A server of sentence vectors. It takes texts and makes the ids itself.

    An address that ends in /embeddings is asked as OpenAI's API is, one with /call/ in it as an
    endpoint of Gradio that takes one text, any other as Text Embeddings Inference's /embed. Nothing
    is sent anywhere else.

    Args:
        address: of the endpoint.
    """

    def __init__(self, address: str) -> None:
        self.name = address
        path = urlsplit(address).path.rstrip("/")
        self._ask = self._ask_tei
        if path.endswith("/embeddings"):
            self._ask = self._ask_openai
        elif "/call/" in path:
            self._ask = self._ask_gradio

    def run(self, case: Case) -> dict[str, NDArray[Any]]:
        """The vectors of a case's texts.

        Raises:
            Unable: the case is none of plain texts.
            ModelError: the server can't be reached, or gives something else.
        """
        if case.texts is None or len(case.texts) != len(case.ids):
            raise Unable("a server takes texts")
        found = self._ask(list(case.texts))
        try:
            vectors = np.asarray(found, dtype=np.float64)
        except (TypeError, ValueError):
            vectors = np.empty(0)
        if vectors.ndim != 2 or len(vectors) != len(case.texts):
            raise ModelError(
                f"{self.name} gave {shortened(json.dumps(found), 100)} for {len(case.texts)} "
                "texts; name an endpoint that gives a vector for each."
            )
        return {POOLED: vectors}

    def _ask_tei(self, texts: list[str]) -> Any:
        return json.loads(self._send({"inputs": texts}))

    def _ask_openai(self, texts: list[str]) -> Any:
        found = json.loads(self._send({"input": texts, "model": "default"}))
        try:
            rows = sorted(found["data"], key=lambda one: one["index"])
            return [one["embedding"] for one in rows]
        except (KeyError, TypeError):
            return found

    def _ask_gradio(self, texts: list[str]) -> Any:
        """One text after the other: Gradio answers with the address of an event, then with it."""
        rows = []
        for text in texts:
            try:
                event = json.loads(self._send({"data": [text]}))["event_id"]
                said = self._send(None, f"{self.name.rstrip('/')}/{event}").decode()
                [row] = json.loads(said.split("event: complete\ndata: ")[1].splitlines()[0])
            except (KeyError, IndexError, TypeError, ValueError):
                return "no vector"
            while isinstance(row, dict) and len(row) == 1:  # {"embedding": [...]}
                [row] = row.values()
            rows.append(
                row[0] if isinstance(row, list) and row and isinstance(row[0], list) else row
            )
        return rows

    def _send(self, values: dict[str, Any] | None, address: str = "") -> bytes:
        request = urllib.request.Request(
            address or self.name,
            data=None if values is None else json.dumps(values).encode(),
            headers={"Content-Type": "application/json", "Accept": "*/*"},
        )
        # No proxy of the environment: what is named is asked, and nobody else.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=SECONDS) as answer:
                body: bytes = answer.read(MOST_BYTES)
                if values is not None:
                    json.loads(body)  # whatever else it is, it is no answer
                return body
        except urllib.error.HTTPError as error:
            reason = shortened(error.read(500).decode(errors="replace"), 200)
            raise ModelError(
                f"{self.name} answers {error.code} ({reason}); name an endpoint of embeddings."
            ) from None
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{quoted(self.name)} gives no answer ({error}); start the server, or correct the "
                "address."
            ) from None


def _unwrapped(row: Any) -> Any:
    """The vector of `{"embedding": [[...]]}` or the like."""
    while (isinstance(row, dict) and len(row) == 1) or (
        isinstance(row, list) and len(row) == 1 and isinstance(row[0], list)
    ):
        [row] = row.values() if isinstance(row, dict) else row
    return row
