"""From interactions and item features to scores. Knows nothing of how features were made."""
