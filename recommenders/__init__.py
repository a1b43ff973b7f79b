"""Recommenders: scores from interactions and item features. Independent of how features are extracted."""
