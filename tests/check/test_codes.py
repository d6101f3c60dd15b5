"""A code means one thing, whichever command says it."""

from __future__ import annotations

import re
from pathlib import Path

import trainworthy

SOURCE = Path(trainworthy.__file__).parent
# A sampler that is not told the epoch, buffers that differ, nn.DataParallel, BatchNorm under DDP.
SHARED = {"TW402", "TW406", "TW411", "TW412"}


def test_rules_and_rehearsals_share_only_codes_of_the_same_fault() -> None:
    rules = [
        code
        for file in (SOURCE / "check/rules").glob("*.py")
        for code in re.findall(r'code="(TW\d{3})"', file.read_text())
    ]
    others = {
        code
        for folder in ("inspect", "virtual", "_api")
        for file in (SOURCE / folder).rglob("*.py")
        for code in re.findall(r'"(TW\d{3})"', file.read_text())
    }
    assert rules
    assert set(rules) & others == SHARED
