"""Loaders of Accelerate (and of the Trainer of transformers) look one batch ahead.

When the stop rule ends the inner loader, the batch fetched before would still be trained on, and the
script would be ended there, before its evaluation. So the outer loader is ended too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainworthy.virtual.effects_imports import when_imported

if TYPE_CHECKING:
    from trainworthy.virtual.session import Session


def install(session: Session) -> None:
    """End the loaders of Accelerate after the wanted steps."""

    def patch(module: Any) -> None:
        for name in ("DataLoaderShard", "DataLoaderDispatcher"):
            cls = getattr(module, name, None)
            if cls is not None:
                cls.__iter__ = _shortened(cls.__iter__, session)

    when_imported("accelerate.data_loader", patch)


def _shortened(original: Any, session: Session) -> Any:
    def __iter__(self: Any) -> Iterator[Any]:  # noqa: N807 - it replaces that method
        began_finishing = session.finishing
        batches = original(self)
        for batch in batches:
            if session.finishing and not began_finishing:
                batches.close()
                self.end_of_dataloader = True
                self.end()
                return
            yield batch

    return __iter__
