"""A `# noqa` silences a finding that is not there.

What it finds:
    `# noqa: TW203` on a line that has no finding of that code.

Why:
    It would hide the next real one.

How sure:
    Certain for rules that run. Codes of other tools, and a bare `# noqa`, are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis

BAD = """\
import torch

x = torch.arange(0, 12)  # noqa: TW105  # <- TW890
"""

GOOD = """\
import torch

x = torch.range(0, 12)  # noqa: TW105
"""


@rule(code="TW890", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Nothing by itself: what is unused is known when all other rules have run (see check/noqa.py)."""
    return iter(())
