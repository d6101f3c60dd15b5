"""Results as JSON; ``schema.json`` beside this file describes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainworthy.inspect.result import SCHEMA_VERSION, RehearsalResult


def render_json(results: Sequence[RehearsalResult]) -> str:
    """Render one result as one object; several as ``{"schema_version": ..., "results": [...]}``."""
    objects = [result.to_dict() for result in results]
    whole: dict[str, Any] = objects[0] if len(objects) == 1 else {"schema_version": SCHEMA_VERSION, "results": objects}
    # Notes hold what a script left there; a value that JSON has no word for is shown as text.
    return json.dumps(whole, indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ``render_json``."""
    text = Path(__file__).with_name("schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
