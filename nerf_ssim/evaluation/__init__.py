"""Scoring a trained field: metrics, LPIPS, pictures, and the protocol that writes `results.json`."""
