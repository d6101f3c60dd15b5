"""A friendly error where torch is absent."""

from __future__ import annotations


def need_torch(purpose: str) -> None:
    """Raise `MissingTorchError` if torch is not installed; nothing is imported."""
    from importlib.util import find_spec

    from trainworthy.errors import MissingTorchError

    if find_spec("torch") is None:
        raise MissingTorchError(purpose)
