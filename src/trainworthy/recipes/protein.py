"""Protein sequences: structure of each residue, a motif of the whole, contacts from an alignment.

It teaches heads per residue and per sequence over one encoder, splits that follow from the sequence itself, a table of
k-mers as the baseline, and pairs from an alignment by outer product mean and outer sum.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from trainworthy.errors import UsageError
from trainworthy.parts.data.alphabet import ALIGNED_PROTEIN, PROTEIN
from trainworthy.parts.data.collate import PadCollate
from trainworthy.parts.data.readers import read_fasta, read_jsonl
from trainworthy.parts.data.split import split_of
from trainworthy.parts.models.protein import AlignmentPairs, Inputs, ProteinEncoder
from trainworthy.parts.models.transformer import TransformerBlock
from trainworthy.parts.module import module_names
from trainworthy.parts.sources.proteins import STATES, Protein, made_alignment, made_protein
from trainworthy.train import Batch, Loss, Mean, Phase, Quality, Recipe, TrainOptions
from trainworthy.train.classified import IGNORED, classified, count_labels
from trainworthy.train.optimizers import adamw
from trainworthy.train.schedules import cosine

Task = Literal["structure", "motif", "contacts"]
STATED = {"structure": 0.78, "motif": 0.9, "contacts": 0.8}
PAIRS = 5  # contacts of a made alignment


def recipe(
    *, task: Task = "structure", data: str | None = None, inputs: Inputs = "embedding", count: int = 2000,
    width: int = 64, kernel: int = 9, blocks: int = 2, heads: int = 4, dropout: float = 0.1, lr: float = 3e-3,
) -> Recipe:  # fmt: skip
    """Describe the run.

    Args:
        task: ``structure`` of each residue, ``motif`` of each sequence, or ``contacts`` of columns of an alignment.
        data: JSONL with sequence, structure and has_motif, or FASTA with motif=0 or motif=1 behind the name (for
            ``motif``); None: sequences are made. A tenth is for validation, by the sequence.
        inputs: ``embedding`` or ``one-hot``.
        count: Number of sequences, or a quarter as many alignments, that are made.
        width: Width of a residue.
        kernel: Residues that a convolution sees before the blocks.
        blocks: Number of blocks.
        heads: Number of heads.
        dropout: Share dropped of branches and attention weights.
        lr: Highest learning rate.
    """
    if task == "contacts":
        return contacts(count=count // 4, width=width // 2, lr=lr)
    training, validation = proteins(data, count, task)
    classes = {"structure": "residue_classes", "motif": "sequence_classes"}[task]
    head = {"structure": "residues", "motif": "sequence"}[task]

    def loss(net: nn.Module, batch: Batch) -> Loss:
        return classified(getattr(net(batch["tokens"], real=batch["real"]), head), batch["labels"])

    return Recipe(
        model=lambda: ProteinEncoder(
            tokens=PROTEIN.size, pad=PROTEIN.pad, width=width, blocks=blocks, heads=heads, dropout=dropout,
            inputs=inputs, kernel=kernel, **{classes: len(STATES) if task == "structure" else 2},
        ),
        phases=(Phase(loss=loss, optimizer=adamw(lr), schedule=cosine(warmup=50), clip_norm=1.0),),
        train_data=encoded(training, task), validation_data=encoded(validation, task),
        collate=PadCollate(values={"tokens": PROTEIN.pad, **({"labels": IGNORED} if task == "structure" else {})}),
        count=lambda batch: count_labels(batch["labels"]),
        finish=lambda net: {f"accuracy_{k}mer": kmer_accuracy(training, validation, k, task) for k in (1, 3)},
        blocks=lambda net: module_names(net, TransformerBlock),
        options=TrainOptions(epochs=3, batch_size=32, evaluate_every=63, checkpoint_every=126),
        quality=Quality(metric="accuracy", at_least=STATED[task]),
    )  # fmt: skip


def proteins(data: str | None, count: int, task: Task) -> tuple[list[Protein], list[Protein]]:
    """Return sequences for training and validation, from a file or made; no sequence is in both.

    Raises:
        UsageError: If the file cannot be read, or lacks what the task needs.
    """
    if data is None:
        return [made_protein(i) for i in range(count)], [made_protein(i, seed=1) for i in range(max(count // 8, 16))]
    every = list(_from_fasta(data, task) if Path(data).suffix != ".jsonl" else _from_jsonl(data))
    parts: dict[str, list[Protein]] = {"train": [], "validation": []}
    for protein in {each.sequence: each for each in every}.values():
        parts[split_of(protein.sequence, shares={"train": 0.9, "validation": 0.1})].append(protein)
    if not all(parts.values()):
        raise UsageError(f"{len(every)} sequences are too few for two parts.", where=data)
    return parts["train"], parts["validation"]


def _from_jsonl(path: str) -> list[Protein]:
    rows = read_jsonl(path, required=("sequence", "structure", "has_motif"))
    found = [Protein(row["sequence"], row["structure"], bool(row["has_motif"])) for row in rows]
    wrong = next((n for n, each in enumerate(found) if len(each.sequence) != len(each.structure)), None)
    if wrong is not None or any(set(each.structure) - set(STATES) for each in found):
        raise UsageError(f"Each structure must have a letter of {STATES} for each residue.", where=path)
    return found


def _from_fasta(path: str, task: Task) -> list[Protein]:
    if task != "motif":
        raise UsageError("FASTA has no structure; JSONL has.", where=path, fix="task=motif, or a file of JSONL.")
    found = []
    for record in read_fasta(path):
        if record.description not in ("motif=0", "motif=1"):
            raise UsageError(f"{record.name!r} says {record.description!r}.", where=f"{path}:{record.line}",
                             fix="Write motif=0 or motif=1 behind the name.")  # fmt: skip
        found.append(Protein(record.sequence, "", record.description == "motif=1"))
    return found


def encoded(data: Sequence[Protein], task: Task) -> Dataset[dict[str, Any]]:
    """Return tokens and labels: a state for each residue, or 0 and 1 for the sequence."""
    found = []
    for each in data:
        states = torch.tensor([STATES.index(state) for state in each.structure]) if task == "structure" else None
        labels = int(each.has_motif) if states is None else states
        found.append({"tokens": PROTEIN.encode(each.sequence), "labels": labels})
    return cast("Dataset[dict[str, Any]]", found)  # a list has all that a map-style data set needs


def kmer_accuracy(training: Sequence[Protein], validation: Sequence[Protein], k: int, task: Task) -> float:
    """Return the accuracy of a table from k-mers to labels, filled in training.

    For the structure it says the most frequent state of the middle residue, for the motif the sign of the sum of log
    odds over the sequence (naive Bayes). A k-mer that training did not show says nothing.
    """

    def kmers(protein: Protein) -> list[str]:
        padded = "-" * (k // 2) + protein.sequence + "-" * (k // 2)
        return [padded[place : place + k] for place in range(len(protein.sequence))]

    table: dict[str, Counter[str]] = defaultdict(Counter)
    for each in training:
        labels = each.structure if task == "structure" else str(int(each.has_motif)) * len(each.sequence)
        for kmer, label in zip(kmers(each), labels, strict=True):
            table[kmer][label] += 1
    if task == "structure":
        usual = sum(table.values(), Counter[str]()).most_common(1)[0][0]
        said = {kmer: counts.most_common(1)[0][0] for kmer, counts in table.items()}
        pairs = [
            (said.get(m, usual), s) for each in validation for m, s in zip(kmers(each), each.structure, strict=True)
        ]
        return sum(found == wanted for found, wanted in pairs) / len(pairs)
    odds = {m: torch.tensor((c["1"] + 1) / (c["0"] + 1)).log().item() for m, c in table.items()}
    right = [(sum(odds.get(m, 0.0) for m in kmers(each)) > 0) == each.has_motif for each in validation]
    return sum(right) / len(right)


def contacts(*, count: int, width: int, lr: float) -> Recipe:
    """Describe the run from alignments to contacts of their columns."""
    training, validation = (aligned(number, seed) for number, seed in ((count, 0), (max(count // 8, 16), 1)))

    def loss(net: nn.Module, batch: Batch) -> Loss:
        logits, labels = net(batch["alignment"]), batch["labels"]
        found = classified(logits, labels)
        scores = (logits[..., 1] - logits[..., 0]).masked_fill(labels == IGNORED, float("-inf")).triu().flatten(1)
        upper = torch.ones_like(labels[0]).triu().bool()
        best = scores.masked_fill(~upper.flatten(), float("-inf")).topk(PAIRS, dim=1).indices
        right = labels.flatten(1).gather(1, best) == 1
        precision = Mean(total=right.sum(), weight=right.numel())
        return Loss(total=found.total, weight=found.weight, metrics={"precision": precision})

    return Recipe(
        model=lambda: AlignmentPairs(
            tokens=ALIGNED_PROTEIN.size, pad=ALIGNED_PROTEIN.pad, width=width, inner=width // 2, pair_width=width,
            classes=2,
        ),
        phases=(Phase(loss=loss, optimizer=adamw(lr), schedule=cosine(warmup=50), clip_norm=1.0),),
        train_data=training, validation_data=validation, count=lambda batch: count_labels(batch["labels"]),
        options=TrainOptions(epochs=12, batch_size=16, evaluate_every=96, checkpoint_every=192),
        quality=Quality(metric="precision", at_least=STATED["contacts"]),
    )  # fmt: skip


def aligned(count: int, seed: int) -> Dataset[dict[str, Tensor]]:
    """Return alignments and which of their pairs of columns, four and more apart, are in contact.

    Shapes:   alignment (rows, L), labels (L, L) of 0, 1 and IGNORED
    """
    found = []
    for index in range(count):
        rows, pairs = made_alignment(index, seed=seed, pairs=PAIRS)
        size = len(rows[0])
        apart = (torch.arange(size)[:, None] - torch.arange(size)).abs() >= 4
        labels = torch.where(apart, 0, IGNORED)
        for first, second in pairs:
            labels[first, second] = labels[second, first] = 1
        found.append({"alignment": torch.stack([ALIGNED_PROTEIN.encode(row) for row in rows]), "labels": labels})
    return cast("Dataset[dict[str, Tensor]]", found)
