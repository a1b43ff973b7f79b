"""Feature store: one Lance dataset for each feature space, with its catalogue, verification, repair and export."""
