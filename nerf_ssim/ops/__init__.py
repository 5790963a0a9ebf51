"""The numerical operations that native code can do, one file an op.

Each file holds the public function and its dispatch. `ops.reference` holds the specification in plain PyTorch, which
serves every shape, floating dtype and device. `ops.backend` says which of the two a call uses, and why.
"""
