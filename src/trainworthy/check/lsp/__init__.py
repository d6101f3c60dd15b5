"""A language server over standard input and output: findings while one types, fixes, and pages of rules.

``wire.py`` reads and writes messages, ``documents.py`` checks open documents and speaks of places as editors do,
``server.py`` answers requests. Nothing here imports torch.
"""

from __future__ import annotations

from trainworthy.check.lsp.server import serve

__all__ = ["serve"]
