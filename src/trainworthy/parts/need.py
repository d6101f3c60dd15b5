"""A friendly error where a library that a part wants is absent."""

from __future__ import annotations

from importlib.util import find_spec

from trainworthy.errors import UsageError

_PACKAGES = {"sklearn": "scikit-learn", "faiss": "faiss-cpu"}


def need(module: str, purpose: str) -> None:
    """Say how to get a library if it is not there; nothing is imported.

    Raises:
        UsageError: If it is not installed.

    >>> need("json", "Reading")
    """
    if find_spec(module) is None:
        package = _PACKAGES.get(module, module)
        raise UsageError(f"{purpose} needs {package}, which is not installed.", fix=f"pip install {package}")
