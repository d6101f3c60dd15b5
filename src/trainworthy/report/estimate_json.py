"""Estimates as JSON; ``estimate_schema.json`` beside this file describes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainworthy.estimate.result import SCHEMA_VERSION, Estimate

__all__ = ["estimate_schema", "render_estimate_json"]


def render_estimate_json(estimates: Sequence[Estimate]) -> str:
    """Render one estimate as one object; several as ``{"schema_version": ..., "results": [...]}``."""
    objects = [estimate.to_dict() for estimate in estimates]
    whole: dict[str, Any] = objects[0] if len(objects) == 1 else {"schema_version": SCHEMA_VERSION, "results": objects}
    return json.dumps(whole, indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n"


def estimate_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ``render_estimate_json``."""
    text = Path(__file__).with_name("estimate_schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
