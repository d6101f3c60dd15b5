"""Command-line options as `argparse` declares them."""

from __future__ import annotations

import ast

from trainworthy.check.static.facts import Call


def destination(call: Call) -> str | None:
    """Name the attribute that an option is stored as; None if that is not clear."""
    given = call.keywords.get("dest")
    if given is not None:
        name = call.constant(None, "dest")
        return name if isinstance(name, str) else None
    texts = [one.value for one in call.node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    long = [one for one in texts if one.startswith("--")] or texts
    return long[0].lstrip("-").replace("-", "_") if long else None
