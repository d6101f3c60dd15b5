"""SARIF 2.1.0, for code scanning."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from trainworthy._version import __version__
from trainworthy.check.baseline import fingerprint
from trainworthy.check.finding import Finding, Place
from trainworthy.check.rule import Rule, all_rules
from trainworthy.check.run import CheckResult
from trainworthy.report.findings.words import long_message, rule_url, section

_LEVELS = {"error": "error", "warning": "warning", "hint": "note"}
_MOST_RESULTS = 25_000  # GitHub refuses a run with more


def render_sarif(result: CheckResult) -> str:
    """Write one run."""
    rules = [one for code, one in all_rules().items() if code in result.rules]
    index = {one.code: at for at, one in enumerate(rules)}
    run = {
        "tool": {
            "driver": {
                "name": "trainworthy",
                "version": __version__,
                "informationUri": rule_url("").rstrip("/"),
                "rules": [_rule(one) for one in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, index) for one in result.findings[:_MOST_RESULTS]],
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False)


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": section(rule, "What it finds") or rule.summary},
        "help": {"text": section(rule, "Why") or rule.summary},
        "helpUri": rule_url(rule.code),
        "defaultConfiguration": {"level": _LEVELS[rule.severity], "enabled": rule.default},
    }


def _result(finding: Finding, index: dict[str, int]) -> dict[str, object]:
    result: dict[str, object] = {
        "ruleId": finding.code,
        "level": _LEVELS[finding.severity],
        "message": {"text": long_message(finding)},
        "locations": [_location(finding.place)],
        "partialFingerprints": {"trainworthy/v1": fingerprint(finding)},
    }
    if finding.code in index:
        result["ruleIndex"] = index[finding.code]
    related = [
        {**_location(one.place), "message": {"text": one.text}} for one in finding.evidence if one.place is not None
    ]
    if related:
        result["relatedLocations"] = related
    return result


def _location(place: Place) -> dict[str, object]:
    region: dict[str, object] = {"startLine": place.line, "endLine": place.end_line or place.line}
    if place.column is not None:
        region["startColumn"] = place.column
        if place.end_column is not None:
            region["endColumn"] = place.end_column
    return {"physicalLocation": {"artifactLocation": {"uri": quote(Path(place.path).as_posix())}, "region": region}}
