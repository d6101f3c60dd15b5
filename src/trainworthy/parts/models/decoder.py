"""A decoder-only transformer: a language model, in the form of GPT-2."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainworthy.errors import ShapeError
from trainworthy.parts.masks import Keep, attention_keep, positions_of
from trainworthy.parts.models.transformer import Activation, TransformerBlock
from trainworthy.parts.module import TypedModule


class DecoderOutput(NamedTuple):
    """What the decoder returns.

    Attributes:
        logits: (B, T, vocabulary) of the next token at each position.
        weights: For each block (B, H, T, T); empty if not asked for.
    """

    logits: Tensor
    weights: tuple[Tensor, ...]


class Decoder(TypedModule):
    """Tokens to the logits of the next token at each position.

    Shapes:   tokens (B, T), real (B, T) -> :class:`DecoderOutput`
    Source:   Radford et al. 2019 (GPT-2): 124,439,808 parameters with the defaults, as Hugging Face's gpt2;
              354,823,168 with width 1024, 24 blocks, 16 heads

    Args:
        vocabulary: Number of tokens.
        context: Longest sequence.
        width: Width of the tokens.
        blocks: Number of blocks.
        heads: Number of heads.
        hidden: Width of the network of each token; None: 4 times ``width``.
        dropout: Share dropped of embeddings, branches and attention weights.
        activation: ``gelu-tanh`` as published.
        tied: The output layer is the embedding, as published.

    >>> model = Decoder(vocabulary=11, context=8, width=8, blocks=1, heads=2)
    >>> model(torch.zeros(2, 5, dtype=torch.long)).logits.shape
    torch.Size([2, 5, 11])
    """

    def __init__(
        self, *, vocabulary: int = 50257, context: int = 1024, width: int = 768, blocks: int = 12, heads: int = 12,
        hidden: int | None = None, dropout: float = 0.0, activation: Activation = "gelu-tanh", tied: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.context = context
        self.embedding, self.position = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, hidden=hidden, dropout=dropout, activation=activation) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, vocabulary, bias=False)
        _initialise(self, blocks)
        if tied:
            self.out.weight = self.embedding.weight

    def forward(self, tokens: Tensor, *, real: Keep | None = None, weights: bool = False) -> DecoderOutput:
        """Return logits; ``real`` says which positions are not padding, on either side.

        Raises:
            ShapeError: If the sequence is longer than the context.
        """
        size = tokens.shape[1]
        if size > self.context:
            raise ShapeError(
                f"A sequence of {size} tokens does not fit the context of {self.context}.",
                fix="Cut the sequence, or give the model a larger context.",
            )
        places = torch.arange(size, device=tokens.device) if real is None else positions_of(real)
        x = self.dropout(self.embedding(tokens) + self.position(places))
        mask = attention_keep(query_size=size, key_keep=real, causal=True, device=tokens.device)
        seen = []
        for block in self.blocks:
            x, seen_here, _ = block(x, mask=mask, weights=weights)
            seen.append(seen_here)
        return DecoderOutput(self.out(self.norm(x)), tuple(seen) if weights else ())


@torch.no_grad()
def generate(
    model: Decoder, tokens: Tensor, *, count: int, real: Keep | None = None, temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Continue sequences; with padding on the left, so that each ends where generation begins.

    Every step runs the whole sequence: nothing is cached, which is short and slow.

    Shapes:   tokens (B, T) -> (B, T + count)

    Args:
        model: The decoder; its mode is left as it is, so call ``eval()`` before.
        tokens: The beginnings.
        count: How many tokens are added; beyond the context only the last ones are seen.
        real: Which of ``tokens`` are not padding; None: all.
        temperature: 0: the likeliest token; otherwise it is drawn from the softmax of ``logits / temperature``.
        generator: Where the random numbers come from.

    Raises:
        ShapeError: If a sequence ends in padding.

    >>> model = Decoder(vocabulary=11, context=8, width=8, blocks=1, heads=2).eval()
    >>> generate(model, torch.tensor([[1, 2]]), count=3).shape
    torch.Size([1, 5])
    """
    seen = torch.ones_like(tokens, dtype=torch.bool) if real is None else real
    if not bool(seen[:, -1].all()):
        raise ShapeError("A sequence ends in padding; its next token would follow the padding.", fix="Pad on the left.")
    for _ in range(count):
        recent = Keep(seen[:, -model.context :])
        logits = model(tokens[:, -model.context :], real=recent).logits[:, -1]
        if temperature == 0:
            new = logits.argmax(dim=-1, keepdim=True)
        else:
            new = torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)
        tokens, seen = torch.cat([tokens, new], dim=1), torch.cat([seen, torch.ones_like(new, dtype=torch.bool)], dim=1)
    return tokens


def _initialise(model: Decoder, blocks: int) -> None:
    """Draw as GPT-2: N(0, 0.02); the last layers of the ``2 blocks`` branches are narrower by the root of that."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            ends_branch = name.endswith(("attention.out", "contract"))
            nn.init.normal_(module.weight, 0.0, 0.02 / math.sqrt(2 * blocks) if ends_branch else 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, 0.0, 0.02)
