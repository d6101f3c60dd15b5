"""Public projects and verdicts: the manifest is well formed, and a finding gets the verdict that is nearest to it."""

from __future__ import annotations

import re

from benchmarks.ecosystem import beyond_reading, manifest, verdict

from trainworthy.check.rule import all_rules


def test_every_repository_has_a_commit_and_every_verdict_a_reason() -> None:
    data, rules = manifest(), all_rules()
    names = [one["name"] for one in data["repository"]]
    assert len(set(names)) == len(names) >= 90
    assert all(re.fullmatch(r"[0-9a-f]{40}", one["commit"]) or "package" in one for one in data["repository"])
    assert all(isinstance(one["mended"], bool) for one in data["repository"])
    for one in data["verdict"]:
        assert one["code"] in rules or one["code"] == "TW901"
        assert one["verdict"] in ("true", "false")
        assert ("read" in one) == ("repository" not in one), "one for a whole rule says how many were read"
        assert one["reason"]
        assert one.get("repository", names[0]) in names
    for one in data["mended"]:
        assert one["code"] in rules
        assert one["places"]
        assert one["reason"]


def test_the_nearest_verdict_counts() -> None:
    rule = {"code": "TW201", "read": 1, "verdict": "true", "reason": "of the rule"}
    file = {"code": "TW201", "repository": "a/b", "path": "x.py", "verdict": "false", "reason": "of the file"}
    found = {"repository": "a/b", "path": "x.py", "line": 3, "code": "TW201"}
    assert verdict(found, [rule, file]) == {"verdict": "false", "reason": "of the file"}
    assert verdict({**found, "path": "y.py"}, [rule, file]) == {"verdict": "true", "reason": "of the rule"}
    assert verdict({**found, "code": "TW202"}, [rule, file])["verdict"] == "unread"


def test_more_findings_of_a_rule_than_were_read_are_unread() -> None:
    rule = {"code": "TW201", "read": 1, "verdict": "true", "reason": "of the rule"}
    findings = [{"code": "TW201", "line": line, "verdict": "true", "reason": "of the rule"} for line in (1, 2)]
    beyond_reading(findings, [rule])
    assert [one["verdict"] for one in findings] == ["true", "unread"]
