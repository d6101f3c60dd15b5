"""Which ranks can differ: by the source of the script, and by the tapes at hand."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from report.cluster_tapes import RankBuilder, ddp, fsdp, pipeline
from trainworthy.inspect.rank_choice import first_choice, next_choice, rank_constants, source_files


@pytest.mark.parametrize(("source", "constants"), [
    ("if rank == 0: save()", {0, 1}),
    ("if int(os.environ['RANK']) != 0: quiet()", {0, 1}),
    ("if dist.get_rank() in (2, 5): pass", {1, 2, 3, 4, 5, 6}),
    ("if self.global_rank >= 4: pass", {3, 4, 5}),
    ("stage = rank // 16", {15, 16}),
    ("if rank % 2: pass", {0, 1, 2}),
    ("if rank % 100 == 7: pass", {6, 7, 8, 99, 100, 101}),
    ("g = dist.new_group([0, 1])", {0, 1, 2}),
    ("g = dist.new_group(ranks=[4, 5])", {4, 5, 6}),
    ("if lora_rank > 64: pass", set()),
    ("if step == 3 and flag == True: pass", set()),
    ("rank = 3", set()),
])  # fmt: skip
def test_constants(source: str, constants: set[int]) -> None:
    assert rank_constants(ast.parse(source)) == constants


def test_the_script_and_what_it_imports_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "loop.py").write_text("def run(rank):\n    if rank == 5: pass\n")
    (tmp_path / "train.py").write_text("import torch\nfrom parts import loop\nimport missing\n")
    (tmp_path / "other.py").write_text("if rank == 40: pass\n")
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        files = source_files("train.py", "script")
        function = source_files("parts.loop:run", "function")
        assert source_files("nowhere", "module") == []
        assert first_choice(files, world_size=64, gpus_per_node=8) == [0, 1, 8, 63, 4, 5, 6]
    assert {path.name for path in files} == {"train.py", "__init__.py", "loop.py"}
    assert [path.name for path in function] == ["loop.py"]


@pytest.mark.parametrize("content", [b"def broken(:\n", b"\xff\xfe\x00", b"# coding: nonsense\n"])
def test_a_file_that_does_not_parse_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.py").write_bytes(content)
    assert first_choice([tmp_path / "train.py"], world_size=4, gpus_per_node=4) == [0, 1, 3]


def test_ranks_stay_within_the_world() -> None:
    assert first_choice([], world_size=1, gpus_per_node=1) == [0]
    assert first_choice([], world_size=2, gpus_per_node=2) == [0, 1]
    assert first_choice([], world_size=512, gpus_per_node=8) == [0, 1, 8, 511]


def test_stages_are_reached_one_from_another() -> None:
    tapes = {0: pipeline(0, stages=4), 3: pipeline(3, stages=4)}
    assert next_choice(tapes, world_size=4) == [1, 2]
    assert next_choice({0: pipeline(0, stages=4)}, world_size=4) == [1]


def test_groups_that_tile_the_world_ask_for_no_more() -> None:
    assert next_choice({r: fsdp(r) for r in (0, 1, 8, 63)}, world_size=64) == []
    assert next_choice({0: ddp(0)}, world_size=8) == []


def test_ranks_that_update_different_parameters_ask_for_all() -> None:
    tapes = {r: ddp(r, unused_parameters=[{"name": f"layers.{r}.weight", "why": ""}]) for r in (0, 1)}
    assert next_choice(tapes, world_size=8) == [2, 3, 4, 5, 6, 7]


def test_a_group_that_does_not_tile_the_world_has_members_and_strangers() -> None:
    tape = RankBuilder(rank=0, world_size=8, gpus_per_node=8)
    tape.call("all_reduce", 4, group=tape.group("odd", (0, 3, 5)))
    assert next_choice({0: tape.tape()}, world_size=8) == [3, 5, 1, 7]
