"""The manifest of public projects is well formed: every verdict is on a rule and says why."""

from __future__ import annotations

import re

from benchmarks.ecosystem import manifest

from trainworthy.check.rule import all_rules


def test_every_repository_has_a_commit_and_every_verdict_a_reason() -> None:
    data, rules = manifest(), all_rules()
    names = [one["name"] for one in data["repository"]]
    assert len(set(names)) == len(names) >= 50
    assert all(re.fullmatch(r"[0-9a-f]{40}", one["commit"]) for one in data["repository"])
    for one in data["verdict"]:
        assert one["code"] in rules or one["code"] == "TW901"
        assert one["verdict"] in ("true", "false")
        assert ("places" in one) == (one["verdict"] == "false")
        assert one["reason"]
        assert one.get("repository", names[0]) in names
