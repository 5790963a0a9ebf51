"""Radiance fields: what is at a point, and how packed samples of it become pixels."""
