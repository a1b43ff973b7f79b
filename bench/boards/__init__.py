"""Boards: records, aggregation into rows, comparisons, published anchors."""
