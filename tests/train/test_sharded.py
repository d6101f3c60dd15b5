"""Shards of several ranks are saved, verified and loaded by the same number of ranks, by more, and by one process."""

from __future__ import annotations

import os
import resource
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from distributed import gloo
from trainworthy.train.checkpoint import Checkpoints
from trainworthy.train.launch import joined
from trainworthy.train.optimizer_state import by_name, load_by_name
from trainworthy.train.ranks import Ranks

STEPS = (1, 2)


def made(seed: int, *, shard: bool = True) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model whose rows do not divide by 2 or by 3 (one rank of three gets none of the last), and an optimizer."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    if shard:
        from torch.distributed.fsdp import fully_shard

        fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.ones(3, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    average = {name: each.detach() * 0.5 for name, each in model.named_parameters()}
    return {
        "model": dict(model.state_dict()),
        "average": average,
        "optimizer": by_name(optimizer, model.named_parameters()),
    }


def whole(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: whole(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [whole(each) for each in tree]
    return tree.full_tensor() if hasattr(tree, "full_tensor") else tree


def two_ranks(folder: Path) -> dict[str, Any]:
    """Save, fail to save, and load: all that two ranks do in this file."""
    with joined() as ranks:
        model, optimizer = made(seed=1)
        saved: dict[Any, Any] = {}
        for background in (False, True):
            checkpoints = Checkpoints(folder / f"background-{background}", ranks=ranks, background=background)
            for step in STEPS:
                saved[background, step] = whole(state(model, optimizer))
                checkpoints.save(state(model, optimizer), step=step, sample=0, per_rank={"rank": ranks.rank})
                with torch.no_grad():
                    torch._foreach_add_(list(model.parameters()), 1.0)  # while the shards are being written
            checkpoints.close()
        failed = failing(folder / "full", ranks, model)
        again = loaded(folder / "background-True", ranks)
        if ranks.rank == 0:
            damage(next((folder / "background-True" / "step-00000002" / "shards").glob("shard-00002-*")))
        ranks.gather(None)
        before = loaded(folder / "background-True", ranks)
        return {
            "saved": saved,
            "failed": failed,
            "again": again,
            "before": before,
            "from one": loaded(folder / "one", ranks),
        }


def three_ranks(folder: Path) -> dict[str, Any]:
    with joined() as ranks:
        return loaded(folder / "background-False", ranks)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def failing(folder: Path, ranks: Ranks, model: nn.Module) -> dict[str, Any]:
    """Save once, then again when rank 1 has no room."""
    warned: list[str] = []
    checkpoints = Checkpoints(folder, ranks=ranks, warn=warned.append)
    checkpoints.save({"model": dict(model.state_dict())}, step=1, sample=0)
    if ranks.rank == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
    checkpoints.save({"model": dict(model.state_dict())}, step=2, sample=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found = checkpoints.find()
    assert found is not None
    return {"found": found.name, "newest": checkpoints.newest, "warned": warned, "left": sorted(os.listdir(folder))}


def loaded(folder: Path, ranks: Ranks) -> dict[str, Any]:
    """Load into another model, and return what came of it, whole."""
    model, optimizer = made(seed=2)
    warned: list[str] = []
    checkpoints = Checkpoints(folder, ranks=ranks, warn=warned.append)
    path = checkpoints.find()
    assert path is not None
    like: Any = dict(model.named_parameters())
    found = checkpoints.load(path, like=like)
    model.load_state_dict(found.state["model"])
    load_by_name(optimizer, found.state["optimizer"], model.named_parameters())
    average = found.state["average"]
    placed = [average[name].to_local().shape == each.to_local().shape for name, each in like.items()]
    checkpoints.close()
    return {
        "state": whole({**state(model, optimizer), "average": average}),
        "placed": placed,
        "name": path.name,
        "per_rank": found.per_rank,
        "notes": found.notes,
        "warned": warned,
    }


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second) and first.dtype == second.dtype
    if isinstance(first, dict):
        return set(first) == set(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(same(*pair) for pair in zip(first, second, strict=True))
    return bool(first == second)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    model, optimizer = made(seed=3, shard=False)
    checkpoints = Checkpoints(folder / "one")
    checkpoints.save(state(model, optimizer), step=1, sample=0)
    checkpoints.close()
    return gloo.run_ranks(partial(two_ranks, folder), 2, folder / "log2", limit_s=120)


def test_as_many_ranks_get_the_same_state_also_of_a_background_save(two: list[dict[str, Any]]) -> None:
    for rank, result in enumerate(two):
        found = result["again"]
        assert found["name"] == "step-00000002"
        assert same(found["state"], result["saved"][True, 2])
        assert all(found["placed"])
        assert (found["per_rank"], found["notes"]) == ({"rank": rank}, ())


def test_more_ranks_get_the_same_state(folder: Path, two: list[dict[str, Any]]) -> None:
    for found in gloo.run_ranks(partial(three_ranks, folder), 3, folder / "log3", limit_s=120):
        assert found["name"] == "step-00000002"
        assert all(found["placed"])
        assert (found["per_rank"], found["notes"]) == (None, ("ranks was 2 and is 3",))
        assert same(found["state"], two[0]["saved"][False, 2])


def test_one_process_without_shards_gets_the_same_state(folder: Path, two: list[dict[str, Any]]) -> None:
    checkpoints = Checkpoints(folder / "background-True")
    path = checkpoints.find()
    assert path is not None
    assert sorted(each.name for each in (path / "shards").iterdir()) == [
        "shard-00001-model-00001-of-00001.safetensors",
        "shard-00002-model-00001-of-00001.safetensors",
    ]
    assert same(checkpoints.load(path).state, two[0]["saved"][True, 1])
    checkpoints.close()


def test_all_ranks_agree_to_go_back_where_one_finds_damage(two: list[dict[str, Any]]) -> None:
    for result in two:
        assert result["before"]["name"] == "step-00000001"
        assert same(result["before"]["state"], result["saved"][True, 1])
    (warning,) = two[0]["before"]["warned"]
    assert warning.startswith("Checkpoint step-00000002 is skipped and set aside: shards/shard-00002")
    assert two[1]["before"]["warned"] == [], "one warning is enough"


def test_all_ranks_give_a_checkpoint_up_where_one_has_no_room(two: list[dict[str, Any]]) -> None:
    for result in two:
        assert result["failed"]["found"] == "step-00000001"
        assert result["failed"]["newest"] == 1
        assert result["failed"]["left"] == [".lock", "step-00000001"]
    (warning,) = two[0]["failed"]["warned"]
    assert "step-00000002 was not written: rank 1: " in warning
    assert "File too large" in warning


def test_a_checkpoint_of_one_process_is_spread_over_ranks(two: list[dict[str, Any]]) -> None:
    for result in two:
        assert same(result["from one"]["state"], whole(state(*made(seed=3, shard=False))))
        assert all(result["from one"]["placed"])
