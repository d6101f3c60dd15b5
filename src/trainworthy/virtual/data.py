"""``--data SPEC``: shapes and dtypes stand in for a data set that is not on this machine."""

from __future__ import annotations

def install(spec, effects):
    pass
