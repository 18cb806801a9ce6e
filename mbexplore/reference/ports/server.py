"""Embeddings from a server that the user names: TEI's /embed, or the form of OpenAI's API."""

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

    An address that ends in /embeddings is asked as OpenAI's API is, any other as Text Embeddings
    Inference's /embed. Nothing is sent anywhere else.

    Args:
        address: of the endpoint.
    """

    def __init__(self, address: str) -> None:
        self.name = address
        self._is_openai = urlsplit(address).path.rstrip("/").endswith("/embeddings")

    def run(self, case: Case) -> dict[str, NDArray[Any]]:
        """The vectors of a case's texts.

        Raises:
            Unable: the case is none of plain texts.
            ModelError: the server can't be reached, or gives something else.
        """
        if case.texts is None or len(case.texts) != len(case.ids):
            raise Unable("a server takes texts")
        texts = list(case.texts)
        asked: dict[str, Any] = {"input": texts} if self._is_openai else {"inputs": texts}
        if self._is_openai:
            asked["model"] = "default"
        found = self._post(asked)
        try:
            rows = found
            if self._is_openai:
                rows = [one["embedding"] for one in sorted(found["data"], key=lambda x: x["index"])]
            vectors = np.asarray(rows, dtype=np.float64)
        except (KeyError, TypeError, ValueError):
            vectors = np.empty(0)
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise ModelError(
                f"{self.name} gave {shortened(json.dumps(found), 100)} for {len(texts)} texts; "
                "name an endpoint that gives a vector for each."
            )
        return {POOLED: vectors}

    def _post(self, values: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self.name,
            data=json.dumps(values).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        # No proxy of the environment: what is named is asked, and nobody else.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=SECONDS) as answer:
                return json.loads(answer.read(MOST_BYTES))
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
