"""Pure arithmetic of tensors and of training, a family a file; never imports torch or NumPy.

Every function takes keywords only and states shapes, unit, exactness and source, with a doctest. What does not go
together raises `ShapeError`; what is no size at all raises `UsageError`, of which `FormulaError` is the kind that
names the argument and its value.
"""
