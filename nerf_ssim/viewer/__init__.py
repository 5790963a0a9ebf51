"""A trained field in the browser: fly through it, compare it with its photographs, watch it train."""
