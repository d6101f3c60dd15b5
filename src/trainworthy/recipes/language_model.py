"""Causal language model of Python's own help texts, letter by letter.

It teaches which of the two masks hides what, that padding on the left or on the right gives the same loss, that
padding does not count, and to compare the perplexity with that of letters drawn by their frequency.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from trainworthy.parts.masks import Side, lengths_keep, pad
from trainworthy.parts.models.decoder import Decoder
from trainworthy.parts.models.transformer import TransformerBlock
from trainworthy.parts.module import module_names
from trainworthy.parts.sources.shipped import help_paragraphs
from trainworthy.train import Batch, Loss, Phase, Quality, Recipe, TrainOptions
from trainworthy.train.classified import IGNORED, classified, count_labels
from trainworthy.train.optimizers import adamw
from trainworthy.train.schedules import cosine

LETTERS = "".join(map(chr, range(32, 127)))
START, UNKNOWN, FIRST = 0, 1, 2  # START also ends a text; letters follow
VOCABULARY = FIRST + len(LETTERS)


def recipe(
    *, side: Side = "right", context: int = 128, width: int = 64, blocks: int = 2, heads: int = 4, dropout: float = 0.1,
    lr: float = 3e-3,
) -> Recipe:  # fmt: skip
    """Describe the run.

    Args:
        side: Where sequences are padded.
        context: Longest sequence, in letters.
        width: Width of a letter.
        blocks: Number of blocks.
        heads: Number of heads of each.
        dropout: Share dropped of branches.
        lr: Highest learning rate.
    """
    training, validation = Texts(help_paragraphs("train"), context), Texts(help_paragraphs("validation"), context)

    def loss(net: nn.Module, batch: Batch) -> Loss:
        out = net(batch["tokens"], real=lengths_keep(batch["lengths"], batch["tokens"].shape[1], side))
        return classified(out.logits, batch["labels"])

    def finish(net: nn.Module) -> Mapping[str, float]:
        return {"perplexity_unigram": unigram_perplexity(training, validation)}

    return Recipe(
        model=lambda: Decoder(
            vocabulary=VOCABULARY, context=context, width=width, blocks=blocks, heads=heads, dropout=dropout
        ),
        phases=(Phase(loss=loss, optimizer=adamw(lr), schedule=cosine(warmup=50, floor=0.1), clip_norm=1.0),),
        train_data=training, validation_data=validation,
        collate=lambda texts: collate(texts, side), count=lambda batch: count_labels(batch["labels"]),
        finish=finish, blocks=lambda net: module_names(net, TransformerBlock),
        options=TrainOptions(epochs=1, batch_size=16, evaluate_every=55, checkpoint_every=110),
        quality=Quality(metric="loss", at_most=math.log(12.0)),  # a perplexity of 12; letters by frequency have 31
    )  # fmt: skip


class Texts(Dataset[Tensor]):
    """Texts in pieces of at most ``context`` letters; START stands before the first and after the last.

    Shapes:   [index] -> (T + 1,), int64, T at most ``context``
    """

    def __init__(self, texts: Sequence[str], context: int) -> None:
        rows = {letter: FIRST + row for row, letter in enumerate(LETTERS)}
        self.pieces = []
        for text in texts:
            tokens = torch.tensor([START, *(rows.get(letter, UNKNOWN) for letter in text), START])
            pieces = [tokens[at : at + context + 1] for at in range(0, len(tokens) - 1, context)]
            self.pieces += pieces

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.pieces)

    def __getitem__(self, index: int) -> Tensor:
        """Return a piece."""
        return self.pieces[index]


def collate(pieces: Sequence[Tensor], side: Side) -> dict[str, Tensor]:
    """Pad; what is to be foretold at a position is the next letter, and nothing at padding.

    Shapes:   pieces (T_i + 1,) -> tokens and labels (B, T), lengths (B,)
    """
    return {
        "tokens": pad([each[:-1] for each in pieces], value=START, side=side),
        "labels": pad([each[1:] for each in pieces], value=IGNORED, side=side),
        "lengths": torch.tensor([len(each) - 1 for each in pieces]),
    }


def unigram_perplexity(training: Texts, validation: Texts) -> float:
    """Return the perplexity of letters drawn by their frequency in training (Laplace's rule)."""
    counts = Counter(token for piece in training.pieces for token in piece[1:].tolist())
    whole = sum(counts.values()) + VOCABULARY
    nats = [-math.log((counts[token] + 1) / whole) for piece in validation.pieces for token in piece[1:].tolist()]
    return math.exp(sum(nats) / len(nats))
