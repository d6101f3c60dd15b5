"""A file cannot be parsed or read.

What it finds:
    Syntax errors, Python 2, unknown encodings, files that are no text, nested too deeply or larger than 4 MiB.

Why:
    Nothing else can be said about it. `scatter_(dim=1, index, src)`, a positional argument after a keyword, is
    found here.

How sure:
    Certain for the Python that runs trainworthy; newer syntax needs a newer Python. A notebook's cell that shows what
    to type in a terminal is left out without a word.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis

BAD = """\
import torch

t = torch.zeros(3, 5)
t.scatter_(dim=1, torch.zeros(3, 1).long(), 1.0)  # <- TW901
"""

GOOD = """\
import torch

t = torch.zeros(3, 5)
t.scatter_(1, torch.zeros(3, 1).long(), 1.0)
"""


@rule(code="TW901", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Nothing by itself: a file that cannot be read is no analysis (see check/run.py)."""
    return iter(())
