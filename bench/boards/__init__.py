"""Boards: results of cells, aggregation into rows, comparisons, published anchors."""
