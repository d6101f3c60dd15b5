"""It fits only because the allocator returns memory.

What it finds:
    The modelled caching allocator had to give unused segments back to the driver before a request fitted.

Why:
    Each time the GPU stops and waits, and a little more fragmentation is an out-of-memory error.

How sure:
    As sure as the model of the allocator; see single-gpu.md.
"""

from __future__ import annotations

from trainworthy.check.rule import described

described(code="TW702", severity="warning", module=__name__)
