"""Adapter to RecBole: compatibility, data, and a runner for any of its models."""

import importlib.util

from protocols.errors import INSTALL_RECBOLE, UserError


def require(what: str) -> None:
    """Refuse to go on where the package recbole is not installed.

    Parameters
    ----------
    what
        Part of this project that needs it.

    Raises
    ------
    UserError
        With the command that installs it.
    """
    if importlib.util.find_spec("recbole") is None:
        raise UserError(f"{what} needs the package recbole, which is not installed", remedy=INSTALL_RECBOLE)
