"""Text encoders behind an endpoint with OpenAI's interface (`/v1/embeddings`): text to vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from feature_extractors.media.result import Failure
from feature_extractors.models.serving.endpoint import Connection, Endpoint
from feature_extractors.models.serving.served_chat import check_model

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
#: Texts of a request.
TEXTS = 16


class ServedTextEncoder:
    """Texts to vectors.

    Vectors are taken as the server gives them, pooled and normalised by its model; a text that is longer than the model
    reads is the server's to cut or to refuse.

    Parameters
    ----------
    endpoint, model
        The server, and the name of the model there.
    prompt
        Text put before each text, or None.

    Raises
    ------
    UserError
        If the server does not answer, refuses the key, or has no such model.
    """

    def __init__(self, endpoint: Endpoint, model: str, prompt: str | None = None) -> None:
        self._model, self._prompt = model, prompt or ""
        self._connection = Connection(endpoint)
        check_model(self._connection, model)

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray | Failure]:
        """Encode a batch.

        Returns
        -------
        list
            float32 [D] for each text, or why there is none. Where the server refuses several texts at once, each is
            sent alone.
        """
        texts = [(self._prompt + text).encode("utf-8", "replace").decode() for text in texts]
        parts = [texts[at : at + TEXTS] for at in range(0, len(texts), TEXTS)]
        sent = [self._send(part) for part in parts]
        found: list[np.ndarray | Failure] = []
        for part, future in zip(parts, sent, strict=True):
            vectors = future.result()
            if not isinstance(vectors, Failure):
                found += vectors
            elif len(part) == 1:
                found.append(vectors)
            else:
                alone = [self._send([text]) for text in part]
                for one in alone:
                    vector = one.result()
                    found += [vector] if isinstance(vector, Failure) else vector
        return found

    def close(self) -> None:
        """Drop the requests that are on their way."""
        self._connection.close()

    def _send(self, texts: list[str]) -> Any:
        async def ask(client: Any) -> list[np.ndarray] | Failure:
            answer = await client.embeddings.create(model=self._model, input=texts, encoding_format="float")
            rows = sorted(getattr(answer, "data", None) or [], key=lambda row: row.index)
            if [row.index for row in rows] != list(range(len(texts))):
                return Failure("error", "the server did not answer with one vector a text", unexpected=True)
            return [np.asarray(row.embedding, dtype=np.float32) for row in rows]

        return self._connection.submit(ask)
