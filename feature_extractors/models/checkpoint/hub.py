"""Connection to the hub of checkpoints, tried before a download."""

from __future__ import annotations

import time

#: Seconds for a connection, and for the pause before the second of two tries.
PATIENCE, PAUSE = 5.0, 1.0
#: Names of errors of a connection that was not made, in the HTTP libraries that versions of huggingface_hub use.
_NO_CONNECTION = {"ConnectError", "ConnectTimeout", "ConnectionError", "ProxyError"}


def connection_failure(word: str, revision: str | None) -> Exception | None:
    """Ask the hub for a checkpoint; return the error if no connection is made, else None, whatever it answers.

    A download of a known revision begins with a request that is repeated for half a minute, which is right for a hub
    that is busy and wrong for a machine without network. An answer that is slow is no failure.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:  # a download says so at once
        return None
    failure: Exception | None = None
    for pause in (0.0, PAUSE):
        time.sleep(pause)
        try:
            HfApi().model_info(word, revision=revision, timeout=PATIENCE)
            return None
        except Exception as error:
            if not _NO_CONNECTION & {kind.__name__ for kind in type(error).__mro__}:
                return None
            failure = error
    return failure
