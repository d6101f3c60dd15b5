"""Know a PyTorch training run before you pay for it.

Importing this package imports no torch and has no side effect.
"""

from trainworthy._version import __version__

__all__ = ["__version__"]
