"""Every included recipe takes steps, evaluates and finishes; each rehearses on one virtual GPU, three on 64."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import trainworthy as tw
from trainworthy.train.find_recipe import find_recipe, recipe_summaries

# Settings that make each recipe a matter of a second, its own choices kept.
SMALL = {
    "dcgan": ["width=4", "latent=4"],
    "detection": ["images=32", "width=2", "sizes=[16]"],
    "digits": ["width=4", "model=alexnet"],
    "language_model": ["width=16", "blocks=1", "context=16"],
    "number_names": ["width=16", "blocks=1", "digits=2", "pairs=40"],
    "protein": ["width=16", "blocks=1", "count=32"],
    "segmentation": ["images=32", "width=2"],
    "tabular": ["hidden=[8]"],
    "vae": ["hidden=[16]", "latent=2"],
}
VARIANTS = [
    *(["digits", f"model={name}", "width=4"] for name in ("resnet", "vgg", "googlenet", "convnext")),
    ["digits", "model=convnext", "width=2", "size=32"],
    *(["segmentation", f"model={name}", "images=32", "width=2"] for name in ("fcn32s", "fcn16s", "fcn8s")),
    ["protein", "task=motif", "inputs=one-hot", "width=16", "blocks=1", "count=32"],
    ["protein", "task=contacts", "width=16", "count=64"],
    ["dcgan", "loss=hinge", "width=4", "latent=4", "size=8"],
    ["language_model", "side=left", "width=16", "blocks=1", "context=16"],
]
STEPS = ["train.steps=2", "train.batch_size=8", "train.log_every=1", "train.tensorboard=false", "train.device=cpu"]


def test_every_recipe_is_tried_here_and_says_what_it_teaches() -> None:
    summaries = recipe_summaries()
    assert set(summaries) == set(SMALL)
    assert all(20 < len(text) < 100 for text in summaries.values())


@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_runs_from_start_to_end(name: str, tmp_path: Path) -> None:
    result = tw.train(name, *SMALL[name], *STEPS, output=tmp_path / "run")
    assert result.facts.step == 2
    assert result.facts.stopped_by == "end"
    quality = result.facts.quality
    assert quality is not None
    assert quality[0] in result.metrics
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [value for row in rows for key, value in row.items() if key.rpartition("/")[2] == "loss"]
    assert losses
    assert all(math.isfinite(value) for value in losses)


@pytest.mark.parametrize("words", VARIANTS, ids=lambda words: "-".join(words[:2]))
def test_the_choices_of_a_recipe_run_too(words: list[str], tmp_path: Path) -> None:
    result = tw.train(*words, *STEPS, output=tmp_path / "run")
    assert result.facts.step == 2


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_gives_the_same_loss(side: str) -> None:
    from trainworthy.train.config import resolve

    recipe = resolve(find_recipe("language_model"), words=[*SMALL["language_model"], f"side={side}"]).recipe
    assert recipe.collate is not None
    torch.manual_seed(0)
    model = recipe.model().eval()
    data: Any = recipe.train_data
    long = [piece for piece in data.pieces if len(piece) == 17]
    pieces = [piece[:size] for piece, size in zip(long, (5, 9, 17), strict=False)]
    together = recipe.phases[0].loss(model, recipe.collate(pieces))
    alone = [recipe.phases[0].loss(model, recipe.collate([piece])) for piece in pieces]
    assert float(together.weight) == 4 + 8 + 16  # type: ignore[arg-type]
    torch.testing.assert_close(together.total, torch.stack([each.total for each in alone]).sum())


@pytest.mark.slow
@pytest.mark.usefixtures("warm_rehearsals")
@pytest.mark.parametrize(
    ("name", "world_size"), [*((name, 1) for name in SMALL), *((name, 64) for name in ("digits", "dcgan", "protein"))]
)
def test_a_recipe_rehearses(name: str, world_size: int, tmp_path: Path) -> None:
    # benchmarks/recipes.py rehearses every one on 64, a third of a minute each. 64 ranks want a sample each.
    settings = [re.sub(r"^(images|pairs|count)=\d+", r"\1=256", word) for word in SMALL[name]]
    settings = [word.replace("digits=2", "digits=3") for word in settings]
    words = ["train", name, *settings, "train.batch_size=128", "--output", str(tmp_path / "run")]
    cluster = {} if world_size == 1 else {"world_size": world_size, "gpus_per_node": 8}
    result = tw.rehearse("trainworthy", is_module=True, args=words, gpu="h100-sxm-80gb", **cluster)  # type: ignore[arg-type]
    assert result.error is None, result.error
    assert result.verdict == "fits"
    assert not (tmp_path / "run").exists()
