"""Sequence to sequence: digits to the English name of a number, right to the last word.

It teaches an encoder and a decoder with padding on both sides, teacher forcing, and why the accuracy of the next word
says little: what counts is the name that the model writes by itself, for numbers it was never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from trainworthy.parts.masks import pad
from trainworthy.parts.models.seq2seq import Seq2Seq, decode_greedily
from trainworthy.parts.models.transformer import TransformerBlock
from trainworthy.parts.module import module_names
from trainworthy.parts.sources.numbers import END, PAD, START, TOKENS, NumberNames
from trainworthy.train import Batch, Loss, Phase, Quality, Recipe, TrainOptions
from trainworthy.train.classified import IGNORED, classified, count_labels
from trainworthy.train.optimizers import adamw
from trainworthy.train.schedules import cosine

LONGEST = 14  # words of 777,777: seven hundred seventy seven thousand ..., and END


def recipe(
    *, digits: int = 6, pairs: int = 12_000, width: int = 64, blocks: int = 2, heads: int = 4, lr: float = 3e-3
) -> Recipe:
    """Describe the run.

    Args:
        digits: Most digits of a number, at most 6.
        pairs: Number of training pairs.
        width: Width of a token.
        blocks: Blocks of the encoder, and of the decoder.
        heads: Number of heads.
        lr: Highest learning rate.
    """
    validation = NumberNames(500 if digits > 3 else 10, digits=digits, held_out=True)

    def loss(net: nn.Module, batch: Batch) -> Loss:
        return classified(net(batch["source"], batch["target"]).logits, batch["labels"])

    def finish(net: Any) -> Mapping[str, float]:
        return {"exact": exact_share(net, validation)}

    return Recipe(
        model=lambda: Seq2Seq(
            vocabulary=len(TOKENS), pad=PAD, width=width, blocks=blocks, heads=heads, dropout=0.0, norm="before"
        ),
        phases=(Phase(loss=loss, optimizer=adamw(lr), schedule=cosine(warmup=100), clip_norm=1.0),),
        train_data=NumberNames(pairs, digits=digits), validation_data=validation,
        collate=collate, count=lambda batch: count_labels(batch["labels"]), finish=finish,
        blocks=lambda net: module_names(net, TransformerBlock),
        options=TrainOptions(epochs=2, batch_size=64, evaluate_every=100, checkpoint_every=300),
        quality=Quality(metric="exact", at_least=0.95),
    )  # fmt: skip


def collate(pairs: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Pad; the decoder sees the name up to a word and has to say the next.

    Shapes:   (S_i,), (T_i + 1,) -> source (B, S), target and labels (B, T)
    """
    return {
        "source": pad([source for source, _ in pairs], value=PAD),
        "target": pad([name[:-1] for _, name in pairs], value=PAD),
        "labels": pad([name[1:] for _, name in pairs], value=IGNORED),
    }


def exact_share(net: Seq2Seq, data: NumberNames) -> float:
    """Return the share of numbers whose name the model writes without any mistake."""
    device = next(net.parameters()).device
    pairs = [data[index] for index in range(len(data))]
    right = 0
    for at in range(0, len(pairs), 100):
        part = pairs[at : at + 100]
        source = pad([source for source, _ in part], value=PAD).to(device)
        for decoded, (_, name) in zip(
            decode_greedily(net, source, begin=START, end=END, longest=LONGEST), part, strict=True
        ):
            right += decoded.tokens == tuple(name[1:-1].tolist())
    return right / len(pairs)
