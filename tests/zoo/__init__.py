"""Networks for tests: well-known image models with published sizes, and small training cases.

- `published`: one row a model, with parameter count, multiply-adds and source.
- `small`: training cases small enough to run for real on a CPU, for tests of memory.
- `count`: two counters of multiply-adds that share no code with the package under test.

Everything here needs torch and nothing else. `tests` has to be on the path: `from zoo.published import MODELS`.
"""
