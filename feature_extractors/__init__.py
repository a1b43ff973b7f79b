"""From clips and titles to item features. Knows nothing of recommenders."""
