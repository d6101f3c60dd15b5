"""Networks for protein sequences: an encoder with heads for residues and for sequences, and pairs from an alignment."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainworthy.parts.masks import Keep, attention_keep, positions_of, token_keep
from trainworthy.parts.models.transformer import TransformerBlock, sinusoids
from trainworthy.parts.module import TypedModule

Inputs = Literal["embedding", "one-hot"]


class ProteinOutput(NamedTuple):
    """What the encoder returns.

    Attributes:
        residues: (B, L, residue classes), logits of each residue; None without that head.
        sequence: (B, sequence classes), logits of each sequence; None without that head.
        features: (B, L, width) of each residue.
    """

    residues: Tensor | None
    sequence: Tensor | None
    features: Tensor


class ProteinEncoder(TypedModule):
    """A transformer over residues.

    The head of sequences sees the mean over the real residues; padding changes nothing.

    Shapes:   tokens (B, L) of an :class:`~trainworthy.parts.data.alphabet.Alphabet` -> :class:`ProteinOutput`

    Args:
        tokens: Number of tokens.
        pad: The token of padding.
        width: Width of a residue.
        blocks: Number of blocks.
        heads: Number of heads.
        dropout: Share dropped of branches and attention weights.
        inputs: ``embedding`` looks a vector up; ``one-hot`` multiplies the one-hot code by a matrix, which is the same
            function, for inputs that are distributions over residues (B, L, tokens).
        kernel: Residues that a convolution before the blocks sees, an odd number, so that attention need not learn what
            is next to what; None: no convolution.
        residue_classes: Classes of each residue; None: no such head.
        sequence_classes: Classes of each sequence, or 1 for a value; None: no such head.

    >>> model = ProteinEncoder(tokens=23, pad=0, width=8, blocks=1, heads=2, residue_classes=3, sequence_classes=5)
    >>> out = model(torch.tensor([[4, 5, 6], [7, 8, 0]]))
    >>> out.residues.shape, out.sequence.shape
    (torch.Size([2, 3, 3]), torch.Size([2, 5]))
    """

    def __init__(
        self, *, tokens: int, pad: int, width: int = 128, blocks: int = 4, heads: int = 4, dropout: float = 0.0,
        inputs: Inputs = "embedding", kernel: int | None = None, residue_classes: int | None = None,
        sequence_classes: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.tokens, self.pad, self.width = tokens, pad, width
        self.table = nn.Linear(tokens, width, bias=False) if inputs == "one-hot" else nn.Embedding(tokens, width)
        nn.init.normal_(self.table.weight, 0.0, 1.0)
        self.mix = None if kernel is None else nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout=dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.residue_head = None if residue_classes is None else nn.Linear(width, residue_classes)
        self.sequence_head = None if sequence_classes is None else nn.Linear(width, sequence_classes)

    def forward(self, tokens: Tensor, *, real: Keep | None = None) -> ProteinOutput:
        """Return features and what the heads say of them; ``real`` is found by the padding token if it is not given.

        Shapes:   tokens (B, L), or (B, L, tokens) of distributions with ``real`` given
        """
        if real is None:
            real = token_keep(tokens, pad=self.pad)
        if isinstance(self.table, nn.Linear):
            codes = functional.one_hot(tokens, self.tokens) if tokens.dim() == 2 else tokens
            x = self.table(codes.to(self.table.weight.dtype))
        else:
            x = self.table(tokens)
        size = x.shape[1]
        if self.mix is not None:
            x = x + self.mix((x * real[..., None]).transpose(1, 2)).relu().transpose(1, 2)
        x = x + sinusoids(size, self.width, device=x.device).to(x.dtype)[positions_of(real)]
        mask = attention_keep(query_size=size, key_keep=real)
        for block in self.blocks:
            x = block(x, mask=mask).x
        features = self.norm(x)
        residues = None if self.residue_head is None else self.residue_head(features)
        sequence = None if self.sequence_head is None else self.sequence_head(mean_over(features, real))
        return ProteinOutput(residues, sequence, features)


class OuterProductMean(TypedModule):
    """Rows of an alignment to pairs of its columns: the mean over the rows of outer products.

    Shapes:   (rows, L, inputs), or (B, rows, L, inputs) -> (L, L, outputs), or (B, L, L, outputs)
    Source:   Jumper et al. 2021 (AlphaFold 2, doi 10.1038/s41586-021-03819-2), supplement, algorithm 10

    Args:
        inputs: Width of the alignment (c_m).
        inner: Width of each factor (c).
        outputs: Width of the pairs (c_z).

    >>> OuterProductMean(inputs=4, inner=2, outputs=3)(torch.zeros(5, 7, 4)).shape
    torch.Size([7, 7, 3])
    """

    def __init__(self, *, inputs: int = 256, inner: int = 32, outputs: int = 128) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.left, self.right = nn.Linear(inputs, inner), nn.Linear(inputs, inner)
        self.out = nn.Linear(inner * inner, outputs)

    def forward(self, x: Tensor, real: Keep | None = None) -> Tensor:
        """Return pairs; what ``real`` (..., rows, L) says is not there does not count in the mean.

        The sum over the rows is one matrix product, which never keeps the outer product of a single row.
        """
        normed = self.norm(x)
        left, right = self.left(normed), self.right(normed)
        if real is not None:
            left, right = left * real[..., None], right * real[..., None]
        sums = torch.einsum("...sic,...sjd->...ijcd", left, right)
        if real is None:
            means = sums / x.shape[-3]
        else:
            there = real.to(x.dtype)
            counts = torch.einsum("...si,...sj->...ij", there, there)
            means = sums / counts.clamp_min(1)[..., None, None]
        pairs: Tensor = self.out(means.flatten(-2))
        return pairs


class OuterSum(TypedModule):
    """Features of residues to pairs of residues: what the first gives plus what the second gives.

    Shapes:   (..., L, inputs) -> (..., L, L, outputs)
    Source:   Jumper et al. 2021, supplement, algorithm 3, line 2

    >>> OuterSum(inputs=4, outputs=3)(torch.zeros(7, 4)).shape
    torch.Size([7, 7, 3])
    """

    def __init__(self, *, inputs: int, outputs: int) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Add what the first of each pair gives to what the second gives."""
        pairs: Tensor = self.left(x).unsqueeze(-2) + self.right(x).unsqueeze(-3)
        return pairs


class AlignmentPairs(TypedModule):
    """An alignment and its target sequence to pairs: outer sum of the target, outer product mean of the rows.

    Shapes:   alignment (B, rows, L) of tokens, its first row the target -> (B, L, L, pair_width)

    Args:
        tokens: Number of tokens, with the gap.
        pad: The token of padding.
        width: Width of an element of the alignment.
        inner: Width of each factor of the outer product.
        pair_width: Width of the pairs.
        classes: Logits of each pair, made symmetric, such as contact or distance bins; None: the pairs themselves.

    >>> AlignmentPairs(tokens=23, pad=0, width=8, inner=4, pair_width=6, classes=2)(torch.ones(1, 5, 7).long()).shape
    torch.Size([1, 7, 7, 2])
    """

    def __init__(
        self, *, tokens: int, pad: int, width: int = 64, inner: int = 16, pair_width: int = 64,
        classes: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pad = pad
        self.embedding = nn.Embedding(tokens, width)
        self.outer_sum = OuterSum(inputs=width, outputs=pair_width)
        self.outer_product = OuterProductMean(inputs=width, inner=inner, outputs=pair_width)
        self.norm = nn.LayerNorm(pair_width)
        self.classifier = None if classes is None else nn.Linear(pair_width, classes)

    def forward(self, alignment: Tensor) -> Tensor:
        """Return pairs, or their logits."""
        rows = self.embedding(alignment)
        pairs: Tensor = self.outer_sum(rows[:, 0]) + self.outer_product(rows, token_keep(alignment, pad=self.pad))
        if self.classifier is None:
            return pairs
        logits: Tensor = self.classifier(self.norm(pairs).relu())
        return (logits + logits.transpose(1, 2)) / 2


def mean_over(features: Tensor, real: Keep) -> Tensor:
    """Average over what is real; 0 where nothing is.

    Shapes:   features (B, L, width), real (B, L) -> (B, width)

    >>> mean_over(torch.tensor([[[1.0], [3.0], [9.0]]]), Keep(torch.tensor([[True, True, False]])))
    tensor([[2.]])
    """
    there = real[..., None].to(features.dtype)
    return (features * there).sum(dim=1) / there.sum(dim=1).clamp_min(1)
