"""The training waits for its data.

What it finds:
    On a GPU, over at least eight steps, more than a fifth of the time since the second batch was spent waiting for the
    DataLoader.

Why:
    The GPU stands still meanwhile.

How sure:
    The wait is measured on the host while the guard looks on, which makes steps slower and the share smaller. A hint.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule


@rule(code="TW751", severity="hint", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the loader that was waited for longest."""
    batches = [b for b in facts.batches if b.index > 0]
    if facts.device == "cpu" or facts.seconds is None or facts.num_steps < 8 or len(batches) < 8:
        return
    wait = sum(b.wait_s for b in batches)
    if wait > 0.2 * facts.seconds:
        worst = max({b.loader for b in batches}, key=lambda n: sum(b.wait_s for b in batches if b.loader == n))
        first = next(b for b in batches if b.loader == worst)
        yield Hit(
            place=first.place,
            message=f"The training waited {wait:.2f} s of {facts.seconds:.2f} s for data; the DataLoader has "
            f"{first.num_workers} workers",
            fix="num_workers, pin_memory=True, persistent_workers=True; prepare data ahead of the training.",
        )
