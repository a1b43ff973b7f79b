"""Metering of stages: what a run takes is entered into the ledger of the space that it fills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from feature_extractors.pipeline.devices import gpu_uuid
from feature_extractors.store import ledger
from feature_extractors.store.lance import FeatureStore
from protocols.errors import UserError
from protocols.resource_usage import Meter


@contextmanager
def metered(store: FeatureStore, device: str) -> Iterator[None]:
    """Enter what the block takes after each commit of rows and at its end: a killed run is charged for what it left."""
    entry, items = ledger.Entry(store), 0

    def committed(rows: int) -> None:
        nonlocal items
        items += rows
        with suppress(OSError, UserError):  # the next commit enters it again
            entry.write(replace(meter.used(), items=items))

    store.on_commit = committed
    with Meter(device, gpu_uuid(device)) as meter:
        try:
            yield
        finally:
            if items:
                committed(0)
