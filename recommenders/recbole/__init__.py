"""Adapter to RecBole: compatibility, data, and a runner for any of its models."""
