"""Scenes: the layouts that can be read, how one becomes a `Scene`, a procedural room, and public data sets."""
