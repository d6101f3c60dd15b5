"""Which trainers of other libraries a program uses: they do by themselves what a rule would miss."""

from __future__ import annotations

import ast

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import walk


def uses_outside(analysis: Analysis, *names: str) -> bool:
    """Say whether this file, or one of the project that it imports, imports any of these libraries, or names of one.

    A project's own class ``Trainer`` is none.
    """
    wanted = set(names)
    for source in analysis.sources:
        if not wanted & source.words:
            continue
        for node in walk(source.tree):
            if isinstance(node, ast.Import):
                if any(alias.name.partition(".")[0] in wanted for alias in node.names):
                    return True
            elif isinstance(node, ast.ImportFrom) and not node.level:
                module = node.module or ""
                inner = {alias.name for alias in node.names} | set(module.split("."))
                if wanted & inner and analysis.project.find(module, importer=source.path) is None:
                    return True
    return False
