"""Operations with a plain PyTorch specification and, where built, a native implementation: one file an op."""
