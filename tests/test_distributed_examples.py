"""Every distributed example really runs on a few CPU processes, and rehearses unmodified as one of 2 to 512 ranks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trainworthy as tw
from distributed.gloo import record_script
from distributed.sequence import collective_sequence, disagreement, unmatched

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples" / "distributed"
TINY: dict[str, dict[str, Any]] = tomllib.loads((EXAMPLES / "tiny.toml").read_text())
LAUNCHED = sorted(name for name, how in TINY.items() if how.get("launcher", "torchrun") == "torchrun")


def test_every_example_has_a_small_version() -> None:
    assert sorted(TINY) == sorted(path.name for path in EXAMPLES.glob("*.py"))


def test_no_example_knows_trainworthy() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert "trainworthy" not in path.read_text().split('"""', 2)[2], path.name


@pytest.mark.parametrize("name", LAUNCHED)
def test_really_runs_and_its_ranks_agree(name: str, tmp_path: Path) -> None:
    how = TINY[name]
    tapes = record_script(EXAMPLES / name, how["procs"], tmp_path, args=how["args"])
    assert "loss" in (tmp_path / f"rank{0 if name != 'pipeline.py' else how['procs'] - 1}.log").read_text()
    sequences = [collective_sequence(tape) for tape in tapes]
    assert all(sequences)
    assert disagreement(sequences) is None
    assert unmatched(sequences) is None


def test_spawning_script_really_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "mp_spawn_ddp.py"), *TINY["mp_spawn_ddp.py"]["args"]]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "validation loss" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "schedule", ["GPipe", "Interleaved1F1B", "LoopedBFS", "InterleavedZeroBubble", "ZBVZeroBubble"]
)
def test_every_schedule_really_runs(schedule: str, tmp_path: Path) -> None:
    args = [*TINY["pipeline.py"]["args"], "--schedule", schedule]
    tapes = record_script(EXAMPLES / "pipeline.py", 2, tmp_path, args=args)
    assert unmatched([collective_sequence(tape) for tape in tapes]) is None


# Every example at 512 ranks, and those that are quickly made ready at 2 or 64 by turns: each run is a process, or
# several, of seconds. Few ranks of the others run for real, above and in ``distributed/test_truth_gloo.py``.
SLOW = {"accelerate_ddp.py", "fsdp2_transformer.py", "hsdp.py", "lightning_ddp.py", "pipeline.py", "tp_fsdp.py"}
SIZES = [
    (name, size)
    for at, name in enumerate(sorted(TINY))
    for size in ((512,) if name in SLOW else (512, (2, 64)[at % 2]))
]


# Packages that look around when they are imported: by a process of the rehearsal's own, as for users.
AS_A_USER_DOES = {("accelerate_ddp.py", 512), ("lightning_ddp.py", 512)}


@pytest.mark.parametrize(("name", "world_size"), SIZES)
def test_rehearses_unmodified(
    name: str, world_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if (name, world_size) not in AS_A_USER_DOES:
        request.getfixturevalue("warm_rehearsals")
    procs = min(world_size, 8)
    # Small sizes, for time; degrees of parallelism at their defaults, which fit every world.
    args = _without(TINY[name]["args"], {"--tp", "--shard-degree", "--procs"}, {"parallel.tp"})
    if name == "tensor_parallel.py":
        args += ["--n-heads", "8"]
    if name == "tp_fsdp.py":
        args += ["model.heads=8"]
    if name == "pipeline.py":
        args += ["--layers", "16", "--microbatches", "8"]
    if name == "mp_spawn_ddp.py":
        args += ["--nodes", str(world_size // procs)]
    if "--samples" in args:
        args[args.index("--samples") + 1] = str(64 * world_size)
    if "--images" in args:
        args[args.index("--images") + 1] = str(64 * world_size)
    if "--chars" in args:
        args[args.index("--chars") + 1] = str(100 * world_size)
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        result = tw.rehearse(
            EXAMPLES / name, args=tuple(args), gpu="h100-sxm-80gb", world_size=world_size, gpus_per_node=procs, rank=0
        )
    assert result.error is None
    assert result.verdict == "fits"
    assert result.steps == 2
    assert list(tmp_path.iterdir()) == []


def _without(args: list[str], options: set[str], keys: set[str]) -> list[str]:
    kept, skip = [], False
    for arg in args:
        if skip:
            skip = False
        elif arg in options:
            skip = True
        elif arg.split("=")[0] not in keys:
            kept.append(arg)
    return kept
