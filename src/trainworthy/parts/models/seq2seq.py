"""An encoder-decoder transformer, and how sequences are read off it: greedily, or with a beam."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainworthy.parts.masks import Keep, attention_keep, token_keep
from trainworthy.parts.models.transformer import Activation, NormPlace, TransformerBlock, sinusoids
from trainworthy.parts.module import TypedModule


class Seq2SeqOutput(NamedTuple):
    """What the model returns.

    Attributes:
        logits: (B, T, vocabulary) of the next target token at each position.
        memory_weights: For each block of the decoder (B, H, T, S), which source tokens it read; empty if not asked for.
    """

    logits: Tensor
    memory_weights: tuple[Tensor, ...]


class Seq2Seq(TypedModule):
    """Source tokens and the target so far to the logits of the next target token.

    Source and target share one vocabulary, one embedding and the output layer, as in section 3.4 of the paper.

    Shapes:   source (B, S), target (B, T) -> :class:`Seq2SeqOutput`
    Source:   Vaswani et al. 2017 (arXiv 1706.03762), figure 1; with norm ``before`` a norm follows the last block of
              each side

    Args:
        vocabulary: Number of tokens.
        pad: The token of padding.
        width: Width of the tokens.
        blocks: Number of blocks of encoder and of decoder.
        heads: Number of heads.
        hidden: Width of the network of each token; None: 4 times ``width``.
        dropout: Share dropped of embeddings, branches and attention weights.
        norm: ``after`` as published, which needs a warm-up of the learning rate; ``before`` trains without.
        activation: ``relu`` as published.

    >>> model = Seq2Seq(vocabulary=11, pad=0, width=8, blocks=1, heads=2)
    >>> model(torch.tensor([[3, 4, 0]]), torch.tensor([[1, 5]])).logits.shape
    torch.Size([1, 2, 11])
    """

    def __init__(
        self, *, vocabulary: int, pad: int, width: int = 512, blocks: int = 6, heads: int = 8,
        hidden: int | None = None, dropout: float = 0.1, norm: NormPlace = "after", activation: Activation = "relu",
    ) -> None:  # fmt: skip
        super().__init__()
        self.pad, self.width = pad, width

        def block(memory: bool) -> TransformerBlock:
            return TransformerBlock(
                width, heads, hidden=hidden, dropout=dropout, norm=norm, activation=activation, memory=memory
            )

        self.embedding, self.dropout = nn.Embedding(vocabulary, width), nn.Dropout(dropout)
        self.encoder = nn.ModuleList(block(memory=False) for _ in range(blocks))
        self.decoder = nn.ModuleList(block(memory=True) for _ in range(blocks))
        before = norm == "before"
        self.encoder_norm: nn.Module = nn.LayerNorm(width) if before else nn.Identity()
        self.decoder_norm: nn.Module = nn.LayerNorm(width) if before else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.embedding.weight, 0.0, width**-0.5)

    def forward(self, source: Tensor, target: Tensor, *, weights: bool = False) -> Seq2SeqOutput:
        """Return logits; padding is found by its token."""
        return self.decode(target, self.encode(source), token_keep(source, pad=self.pad), weights=weights)

    def encode(self, source: Tensor) -> Tensor:
        """Return the memory.

        Shapes:   (B, S) -> (B, S, width)
        """
        x = self._embed(source)
        mask = attention_keep(query_size=source.shape[1], key_keep=token_keep(source, pad=self.pad))
        for block in self.encoder:
            x = block(x, mask=mask).x
        memory: Tensor = self.encoder_norm(x)
        return memory

    def decode(self, target: Tensor, memory: Tensor, source_real: Keep, *, weights: bool = False) -> Seq2SeqOutput:
        """Return logits from a memory.

        Shapes:   target (B, T), memory (B, S, width), source_real (B, S)
        """
        size = target.shape[1]
        mask = attention_keep(query_size=size, key_keep=token_keep(target, pad=self.pad), causal=True)
        memory_mask = attention_keep(query_size=size, key_keep=source_real)
        x, read = self._embed(target), []
        for block in self.decoder:
            x, _, read_here = block(x, memory, mask=mask, memory_mask=memory_mask, weights=weights)
            read.append(read_here)
        logits = nn.functional.linear(self.decoder_norm(x), self.embedding.weight)
        return Seq2SeqOutput(logits, tuple(read) if weights else ())

    def _embed(self, tokens: Tensor) -> Tensor:
        scaled = self.embedding(tokens) * math.sqrt(self.width)
        places = sinusoids(tokens.shape[1], self.width, device=tokens.device).to(scaled.dtype)
        x: Tensor = self.dropout(scaled + places)
        return x


class Decoded(NamedTuple):
    """A decoded sequence.

    Attributes:
        tokens: Without beginning, end and padding.
        log_probability: Of the tokens and of the end, in nats.
        finished: Whether it came to its end; False if it was cut at the longest length.
    """

    tokens: tuple[int, ...]
    log_probability: float
    finished: bool


@torch.no_grad()
def decode_greedily(model: Seq2Seq, source: Tensor, *, begin: int, end: int, longest: int) -> list[Decoded]:
    """Take the likeliest token at each step.

    Shapes:   source (B, S) -> B sequences

    Args:
        model: The model; its mode is left as it is, so call ``eval()`` before.
        source: Source tokens, padded.
        begin: The token that targets begin with.
        end: The token that they end with.
        longest: Most tokens, with the end.

    >>> model = Seq2Seq(vocabulary=11, pad=0, width=8, blocks=1, heads=2).eval()
    >>> len(decode_greedily(model, torch.tensor([[3, 4], [5, 0]]), begin=1, end=2, longest=4))
    2
    """
    memory, real = model.encode(source), token_keep(source, pad=model.pad)
    targets = source.new_full((source.shape[0], 1), begin)
    totals, ended = source.new_zeros(source.shape[0], dtype=torch.float64), source.new_zeros(source.shape[0]).bool()
    for _ in range(longest):
        logits = model.decode(targets, memory, real).logits[:, -1]
        logits[:, [begin, model.pad]] = float("-inf")  # neither can follow
        best = logits.double().log_softmax(dim=-1).max(dim=-1)
        totals += best.values.masked_fill(ended, 0.0)
        targets = torch.cat([targets, best.indices.masked_fill(ended, model.pad)[:, None]], dim=1)
        ended = ended | (best.indices == end)
        if ended.all():
            break
    rows = [[token for token in row if token not in (end, model.pad)] for row in targets[:, 1:].tolist()]
    parts = zip(rows, totals.tolist(), ended.tolist(), strict=True)
    return [Decoded(tuple(row), total, finished) for row, total, finished in parts]


@torch.no_grad()
def decode_with_beam(
    model: Seq2Seq, source: Tensor, *, begin: int, end: int, longest: int, beams: int = 4, length_power: float = 0.0
) -> list[Decoded]:
    """Keep the ``beams`` likeliest beginnings at each step; return the finished ones, best first.

    The search ends when ``beams`` sequences have ended, or at the longest length, where unfinished ones count as they
    are if fewer have ended.

    Shapes:   source (1, S) -> at most ``beams`` sequences
    Source:   Sutskever et al. 2014 (arXiv 1409.3215), section 3.2; Wu et al. 2016 (arXiv 1609.08144), section 7, for
              the division by a power of the length, here without its constant 5

    Args:
        model: The model; its mode is left as it is, so call ``eval()`` before.
        source: Source tokens of one sequence.
        begin: The token that targets begin with.
        end: The token that they end with.
        longest: Most tokens, with the end.
        beams: How many beginnings are kept.
        length_power: Sequences are compared by their log-probability divided by the length to this power.

    >>> model = Seq2Seq(vocabulary=11, pad=0, width=8, blocks=1, heads=2).eval()
    >>> found = decode_with_beam(model, torch.tensor([[3, 4]]), begin=1, end=2, longest=4, beams=3)
    >>> len(found), found[0].log_probability >= found[1].log_probability
    (3, True)
    """
    memory, real = model.encode(source), token_keep(source, pad=model.pad)
    live, done = [Decoded((), 0.0, False)], list[Decoded]()
    for _ in range(longest):
        targets = torch.tensor([(begin, *row.tokens) for row in live], device=source.device)
        rows = len(live)
        logits = model.decode(targets, memory.expand(rows, -1, -1), Keep(real.expand(rows, -1))).logits[:, -1]
        logits[:, [begin, model.pad]] = float("-inf")  # neither can follow
        totals = logits.double().log_softmax(dim=-1) + torch.tensor([[row.log_probability] for row in live]).to(logits)
        best = totals.flatten().topk(min(2 * beams, totals.numel()))
        candidates = [
            (divmod(place, totals.shape[1]), value)
            for place, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            if math.isfinite(value)
        ]
        beginnings, live = live, []
        for rank, ((row, token), value) in enumerate(candidates):
            if token == end:
                if rank < beams:  # an end that is likely enough to be kept, not the best of what is left over
                    done.append(Decoded(beginnings[row].tokens, value, True))
            elif len(live) < beams:
                live.append(Decoded((*beginnings[row].tokens, token), value, False))
        if len(done) >= beams or not live:
            break
    found = done if len(done) >= beams else [*done, *live]
    return sorted(found, key=lambda row: -row.log_probability / (len(row.tokens) + 1) ** length_power)[:beams]
