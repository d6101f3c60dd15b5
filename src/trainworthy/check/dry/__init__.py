"""Rules on the tape of a rehearsal; no torch here.

A dry rule gets a ``Tape`` and looks at its rows (what is alike is there once) before it unfolds anything. It knows
shapes, dtypes, devices, lines and modules; it knows no values.
"""

from __future__ import annotations

from trainworthy.check.dry.run import dry_findings

__all__ = ["dry_findings"]
