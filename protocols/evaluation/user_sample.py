"""Users whose nDCG early stopping goes by: a sample where all of them would take longer than an epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from protocols.hashing import drawn
from protocols.ranking_problem import Problem
from protocols.row_numbers import distinct

#: Scores of one validation (users times items) beyond which users are drawn, and the fewest that are: some seconds of a
#: core. With all 50,000 users of MicroLens-50k most of a search would go into its validations.
MOST_SCORES, FEWEST = 200_000_000, 1000


def for_validation(problem: Problem, most: int | None = None) -> tuple[Problem, str]:
    """Draw, with a seed, the users that a validation ranks.

    Parameters
    ----------
    most
        Users; None: as `MOST_SCORES` allows.

    Returns
    -------
    tuple
        The problem, itself where it is small enough, and "" or the numbers of users, in words.
    """
    task = problem.task
    users = distinct(task.users)
    most = max(FEWEST, MOST_SCORES // max(1, len(problem.training.items))) if most is None else most
    if len(users) <= most:
        return problem, ""
    task = task.of_users(np.isin(task.users, users[drawn(users, most)]))
    return replace(problem, task=task), f"{most:,} of {len(users):,} users, drawn with a seed"
