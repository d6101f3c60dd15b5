"""Scripts with one planted fault each, rehearsed as a user would: the fault is found, with its line, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

import trainworthy as tw

SCRIPTS = Path(__file__).parent / "scripts" / "distributed"

# script -> world size, codes of warnings and errors, whether its line is that of the fault
FOUND = {
    "all_ranks_on_cuda0": (2, {"TW410"}, False),  # no line chooses the GPU
    "batch_not_divisible": (8, {"TW408"}, False),  # the model's line, which gets the shares
    "diverging_buffers": (2, {"TW406"}, True),
    "group_order_mismatch": (4, {"TW404"}, True),
    "no_set_epoch": (2, {"TW402"}, False),  # the sampler's line; what is missing has none
    "parameter_no_rank_updates": (2, {"TW407"}, False),
    "parameter_not_averaged": (2, {"TW413"}, False),
    "rank_branch_deadlock": (4, {"TW401"}, True),
    "same_samples_everywhere": (2, {"TW409"}, False),  # the loop over the loader
    "unequal_all_gather": (4, {"TW403", "TW408"}, True),  # its batches differ, too
}
HANGS = {"group_order_mismatch", "rank_branch_deadlock", "unequal_all_gather"}


def line_of_fault(script: Path) -> int:
    return next(n for n, line in enumerate(script.read_text().splitlines(), 1) if "# fault:" in line)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_rehearsals")
@pytest.mark.parametrize("name", FOUND)
def test_the_fault_is_found(name: str) -> None:
    world_size, codes, has_line = FOUND[name]
    script = SCRIPTS / f"{name}.py"
    result = tw.rehearse(script, gpu="h100-sxm-80gb", world_size=world_size)
    findings = [f for f in result.findings if f["severity"] != "note"]
    assert {f["code"] for f in findings} == codes
    assert (result.verdict == "failed") == (name in HANGS)
    if name in HANGS:
        assert result.error is not None
        assert result.error["kind"] == "deadlock"
        assert len({place["rank"] for place in findings[0]["ranks"]}) == 2
    if has_line:
        assert findings[0]["line"] == line_of_fault(script)
