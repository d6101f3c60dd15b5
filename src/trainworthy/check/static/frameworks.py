"""Which trainers of other libraries a program uses: they do by themselves what a rule would miss."""

from __future__ import annotations

import ast

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of


def uses_outside(analysis: Analysis, *names: str) -> bool:
    """Say whether this file, or one of the project that it imports, imports any of these libraries, or names of one.

    A project's own class ``Trainer`` is none.
    """
    wanted = set(names)
    for source in analysis.sources:
        if not wanted & source.words:
            continue
        plain = nodes_of(source.tree, ast.Import)
        if any(alias.name.partition(".")[0] in wanted for node in plain for alias in node.names):
            return True
        for node in nodes_of(source.tree, ast.ImportFrom):
            module = node.module or ""
            inner = {alias.name for alias in node.names} | set(module.split("."))
            if not node.level and wanted & inner and analysis.project.find(module, importer=source.path) is None:
                return True
    return False
