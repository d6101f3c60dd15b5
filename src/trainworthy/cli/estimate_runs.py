"""``estimate --model`` and ``estimate --runs``: without a script and without torch."""

from __future__ import annotations

import argparse

from trainworthy.errors import UsageError


def estimate_model(options: argparse.Namespace) -> int:
    """Estimate a run from sizes and a layout."""
    raise UsageError("--model is not there yet.", where="--model")


def estimate_runs(options: argparse.Namespace) -> int:
    """Predict every row of a table."""
    raise UsageError("--runs is not there yet.", where="--runs")
