"""Models with masks or sizes in their forward pass are one graph to torch.compile: nothing is decided on the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trainworthy.parts.masks import lengths_keep
from trainworthy.parts.models.decoder import Decoder
from trainworthy.parts.models.protein import AlignmentPairs
from trainworthy.parts.models.seq2seq import Seq2Seq
from trainworthy.parts.models.unet import UNet

TOKENS = torch.arange(12).reshape(2, 6) % 9
SMALL: dict[str, Any] = {"width": 8, "blocks": 1, "heads": 2}
MODELS: dict[str, tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = {
    "decoder": (
        Decoder(vocabulary=11, context=8, **SMALL), (TOKENS,),
        {"real": lengths_keep(torch.tensor([3, 6]), 6, "left"), "weights": True},
    ),
    "seq2seq": (Seq2Seq(vocabulary=11, pad=0, **SMALL), (TOKENS, TOKENS), {}),
    "pairs": (AlignmentPairs(tokens=11, pad=0, width=8, inner=4, pair_width=6, classes=2), (TOKENS[None],), {}),
    "unet": (UNet(width=2, depth=2, padding="same"), (torch.ones(1, 1, 8, 8),), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_it_is_one_graph(name: str) -> None:
    model, args, options = MODELS[name]
    model.eval()
    torch._dynamo.reset()
    got = torch.compile(model, backend="eager", fullgraph=True)(*args, **options)
    torch.testing.assert_close(got, model(*args, **options))
