"""What a file calls the libraries, and words with a slip in them."""

from __future__ import annotations

import ast

import pytest

from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.slips import is_slip
from trainworthy.check.static.source import parse_source

IMPORTS = "import torch as th\nimport torch.nn.functional as F\nfrom torch import nn as layers, optim\nimport numpy\n"


@pytest.mark.parametrize(
    ("text", "library"),
    [
        ("th", "torch"),
        ("th.nn", "torch.nn"),
        ("th.nn.functional", "torch.nn.functional"),
        ("F", "torch.nn.functional"),
        ("layers.init", "torch.nn.init"),
        ("optim", "torch.optim"),
        ("numpy", "numpy"),
        ("torch", ""),
        ("self.torch", ""),
        ("th.rand", ""),
    ],
)
def test_libraries_are_known_by_what_they_are_called(text: str, library: str) -> None:
    source = parse_source("x.py", IMPORTS)
    node = ast.parse(text, mode="eval").body
    assert library_of(source, node) == library


@pytest.mark.parametrize(
    ("key", "name"),
    [("drouput", "dropout"), ("num_layres", "num_layers"), ("momemtum", "momentum"), ("embeding", "embedding")],
)
def test_slips(key: str, name: str) -> None:
    assert is_slip(key, name)
    assert is_slip(name, key)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("hidden_dims", "hidden_dim"),
        ("num_decoder_blocks", "num_encoder_blocks"),
        ("max_value", "min_value"),
        ("num_heads1", "num_heads2"),
        ("optimiser", "optimizer"),
        ("colours", "colors"),
        ("batch_size", "batchsize"),
        ("weight_x", "weight_y"),
        ("dropout", "dropout"),
        ("", "dropout"),
    ],
)
def test_other_words_are_no_slips(key: str, name: str) -> None:
    assert not is_slip(key, name)
