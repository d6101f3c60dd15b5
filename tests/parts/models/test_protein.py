"""Protein models: loops over residues as the oracle; padding changes nothing; one-hot is the embedding."""

from __future__ import annotations

import torch

from trainworthy.parts.masks import Keep
from trainworthy.parts.models.protein import AlignmentPairs, OuterProductMean, OuterSum, ProteinEncoder, mean_over


def encoder(inputs: str = "embedding") -> ProteinEncoder:
    torch.manual_seed(0)
    return ProteinEncoder(
        tokens=9, pad=0, width=8, blocks=2, heads=2, inputs=inputs, residue_classes=3, sequence_classes=2  # type: ignore[arg-type]
    ).eval()  # fmt: skip


def test_padding_changes_nothing_on_either_side() -> None:
    model, alone = encoder(), torch.tensor([[3, 4, 5, 6]])
    want = model(alone)
    assert want.residues is not None
    assert want.sequence is not None
    for row, cut in (([0, 0, 3, 4, 5, 6], slice(2, 6)), ([3, 4, 5, 6, 0, 0], slice(0, 4))):
        got = model(torch.tensor([row, [7] * 6]))
        assert got.residues is not None
        assert got.sequence is not None
        torch.testing.assert_close(got.residues[0, cut], want.residues[0])
        torch.testing.assert_close(got.sequence[0], want.sequence[0])


def test_one_hot_is_the_embedding_by_another_name() -> None:
    looked_up, multiplied = encoder(), encoder("one-hot")
    state = looked_up.state_dict()
    state["table.weight"] = state["table.weight"].T
    multiplied.load_state_dict(state)
    tokens = torch.tensor([[3, 4, 0]])
    torch.testing.assert_close(multiplied(tokens).features, looked_up(tokens).features)
    codes = torch.nn.functional.one_hot(tokens, 9).float()
    real = Keep(tokens != 0)
    torch.testing.assert_close(multiplied(codes, real=real).features, looked_up(tokens).features)


def test_a_convolution_before_the_blocks_sees_neighbours_and_no_padding() -> None:
    torch.manual_seed(0)
    model = ProteinEncoder(tokens=9, pad=0, width=8, blocks=0, heads=2, kernel=3, residue_classes=3).eval()
    features = model(torch.tensor([[3, 4, 5, 6, 7]])).features
    changed = model(torch.tensor([[3, 4, 5, 6, 8]])).features
    assert torch.equal(features[:, :3], changed[:, :3])
    assert not torch.equal(features[:, 3], changed[:, 3])
    torch.testing.assert_close(model(torch.tensor([[0, 3, 4, 5, 6, 7, 0]])).features[:, 1:-1], features)


def test_a_head_that_was_not_asked_for_is_not_there() -> None:
    out = ProteinEncoder(tokens=9, pad=0, width=8, blocks=1, heads=2)(torch.tensor([[3]]))
    assert out.residues is None
    assert out.sequence is None


def test_outer_product_mean_is_what_loops_say() -> None:
    torch.manual_seed(0)
    layer, x = OuterProductMean(inputs=4, inner=2, outputs=3), torch.randn(5, 3, 4)
    real = Keep(torch.rand(5, 3) < 0.6)
    real[0] = True
    normed = layer.norm(x)
    left, right = layer.left(normed), layer.right(normed)
    for given in (None, real):
        got = layer(x, given)
        for i in range(3):
            for j in range(3):
                rows = [row for row in range(5) if given is None or (given[row, i] and given[row, j])]
                mean = torch.stack([torch.outer(left[row, i], right[row, j]) for row in rows]).mean(0)
                torch.testing.assert_close(got[i, j], layer.out(mean.flatten()))
        torch.testing.assert_close(layer(x[None], None if given is None else Keep(given[None]))[0], got)


def test_outer_sum_is_what_loops_say() -> None:
    layer, x = OuterSum(inputs=4, outputs=3), torch.randn(5, 4)
    got = layer(x)
    for i in range(5):
        for j in range(5):
            torch.testing.assert_close(got[i, j], layer.left(x[i]) + layer.right(x[j]))


def test_pairs_are_symmetric_and_ignore_padded_rows() -> None:
    torch.manual_seed(0)
    model = AlignmentPairs(tokens=9, pad=0, width=8, inner=4, pair_width=6, classes=2)
    alignment = torch.randint(1, 9, (1, 4, 5))
    logits = model(alignment)
    torch.testing.assert_close(logits, logits.transpose(1, 2))
    longer = torch.cat([alignment, torch.zeros(1, 2, 5, dtype=torch.long)], dim=1)
    torch.testing.assert_close(model(longer), logits)
    assert AlignmentPairs(tokens=9, pad=0, width=8, inner=4, pair_width=6)(alignment).shape == (1, 5, 5, 6)


def test_the_mean_counts_what_is_real() -> None:
    features = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [5.0], [5.0]]])
    real = Keep(torch.tensor([[True, True, False], [False, False, False]]))
    assert mean_over(features, real).flatten().tolist() == [2.0, 0.0]
