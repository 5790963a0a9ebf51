"""Many runs from one short file: what they are, how they stand, what came of them."""
