"""Radiance fields: one folder a model (options, field, recipe), what they share, and the configuration of a run."""
