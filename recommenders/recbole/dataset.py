"""Stand-in for RecBole's Dataset, made of our training data."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType
from scipy.sparse import coo_matrix

from protocols.errors import BenchError
from protocols.ranking_problem import TrainingData
from protocols.row_numbers import distinct_pairs
from recommenders.data.prefixes import histories

# The field names of RecBole's `properties/overall.yaml` and `properties/dataset/sample.yaml`.
FIELDS: dict[str, Any] = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "timestamp",
    "LABEL_FIELD": "label",
    "NEG_PREFIX": "neg_",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
}
#: An attribute that all items share: models that insist on one (FDSA, GRU4RecF, SASRecF, S3Rec) learn nothing from it.
ATTRIBUTE = "class"


class WarmDataset:
    """Users and warm items of the training data under RecBole's ids: positions plus one, 0 for padding.

    Times are not handed out: RecBole would round them to float32 (131 s steps).
    """

    uid_field, iid_field, time_field = FIELDS["USER_ID_FIELD"], FIELDS["ITEM_ID_FIELD"], FIELDS["TIME_FIELD"]

    def __init__(self, data: TrainingData, max_length: int = 1) -> None:
        self.user_num, self.item_num, self.inter_num = len(data.users) + 1, data.n_warm + 1, len(data.item)
        self._counts = {self.uid_field: self.user_num, self.iid_field: self.item_num, ATTRIBUTE: 2}
        self.field2seqlen = {f"{self.iid_field}{FIELDS['LIST_SUFFIX']}": max_length}
        self._data, self._max_length = data, max_length

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise BenchError(f"the RecBole model asks the dataset for {name!r}, which is not handed to it")

    def num(self, field: str) -> int:
        """Count the ids of a field.

        Raises
        ------
        BenchError
            If the model wants a field that we do not hand out.
        """
        if field not in self._counts:
            raise BenchError(f"the RecBole model asks for field {field!r}; only user and item ids are handed to it")
        return self._counts[field]

    @property
    def field2type(self) -> dict[str, Any]:
        """Type of each field."""
        return dict.fromkeys(self._counts, FeatureType.TOKEN)

    @cached_property
    def inter_feat(self) -> Any:
        """The fitted events, each as it came; for sequential models each with what came before it."""
        columns = {self.uid_field: self._data.user + 1, self.iid_field: self._data.item + 1}
        if self._max_length > 1:
            name = f"{self.iid_field}{FIELDS['LIST_SUFFIX']}"
            columns[name], columns[FIELDS["ITEM_LIST_LENGTH_FIELD"]] = histories(self._data, self._max_length)
        return self._interaction(columns)

    def get_item_feature(self) -> Any:
        """Items with the attribute that they share."""
        ids = np.arange(self.item_num)
        return self._interaction({self.iid_field: ids, ATTRIBUTE: np.minimum(ids, 1)})

    def get_user_feature(self) -> Any:
        """Users, of whom nothing is known."""
        return self._interaction({self.uid_field: np.arange(self.user_num)})

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        """Fitted events as a sparse matrix [1 + users, 1 + warm items] of ones, each pair once."""
        if value_field is not None:
            raise BenchError(f"the RecBole model asks for values of field {value_field!r}; events have none")
        pairs = self._pairs()
        shape = (self.user_num, self.item_num)
        return coo_matrix((np.ones(len(pairs[0]), np.float32), pairs), shape=shape).asformat(form)

    def history_item_matrix(self, value_field: str | None = None, max_history_len: int | None = None) -> tuple:
        """Items of each user [1 + users, longest] padded with 0, ones in the same places, and counts."""
        users, items = self._pairs()
        return _rows(users, items, self.user_num, max_history_len)

    def history_user_matrix(self, value_field: str | None = None, max_history_len: int | None = None) -> tuple:
        """Users of each item [1 + items, longest] padded with 0, ones in the same places, and counts."""
        users, items = self._pairs()
        return _rows(items, users, self.item_num, max_history_len)

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return distinct_pairs(self._data.user + 1, self._data.item + 1)

    @staticmethod
    def _interaction(columns: dict[str, np.ndarray]) -> Any:
        return Interaction({name: torch.from_numpy(column) for name, column in columns.items()})


def _rows(row: np.ndarray, value: np.ndarray, count: int, longest: int | None) -> tuple:
    order = np.argsort(row, kind="stable")
    row, value = row[order], value[order]
    length = np.bincount(row, minlength=count)
    place = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    width = max(1, min(int(length.max(initial=0)), longest or len(row) + 1))
    kept = place < width
    ids, ones = np.zeros((count, width), np.int64), np.zeros((count, width), np.float32)
    ids[row[kept], place[kept]], ones[row[kept], place[kept]] = value[kept], 1.0
    return torch.from_numpy(ids), torch.from_numpy(ones), torch.from_numpy(np.minimum(length, width))
