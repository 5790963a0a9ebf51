"""Do a scene's images and cameras agree? Matched features answer, and alternatives are tried where they do not."""
