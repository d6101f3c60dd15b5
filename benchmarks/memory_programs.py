"""Training programs of NVIDIA's DeepLearningExamples as Lambda ran them in 2020, for the memory that they reserve.

What is held while a step runs decides: which names of the loop still point to results, which vocabulary the loss goes
through, which data stay on the card. Each program follows the published script and Lambda's arguments
(lambdal/deeplearning-benchmark, ``pytorch/scripts/config_v0``); the time profiles of ``profile_models.py`` do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import memory_legacy as legacy
from benchmarks import profile_other, profile_text
from benchmarks.memory_legacy import Precision, Trainer
from benchmarks.memory_programs_speech import tacotron2, waveglow

STEPS = 4  # what the first steps cut up shows in the third


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryProgram:
    """``run(batch, precision)`` trains a few steps on ``cuda``."""

    run: Callable[[int, Precision], None]
    mixed: Precision
    """apex's level that the script takes for mixed precision."""
    batches: tuple[int, ...]
    """Where the peak is recorded; between them it is interpolated."""
    source: str


# --- Transformer-XL -------------------------------------------------------------------------------------------------


class RelativeAttention(nn.Module):
    """Attention to a segment and the one before, with relative positions (Dai et al., 2019)."""

    def __init__(self, width: int, heads: int, inner: int, *, dropout: float, dropped_weights: float) -> None:
        super().__init__()
        self.heads, self.inner, self.dropout, self.dropped_weights = heads, inner, dropout, dropped_weights
        self.qkv = nn.Linear(width, 3 * heads * inner, bias=False)
        self.r = nn.Linear(width, heads * inner, bias=False)
        self.out = nn.Linear(heads * inner, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: Tensor, positions: Tensor, u: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Map (length, batch, width) to the same."""
        length, b, _ = x.shape
        q, k, value = self.qkv(torch.cat([memory, x])).chunk(3, dim=-1)
        q = q[-length:].view(length, b, self.heads, self.inner)
        k, value = (t.view(t.shape[0], b, self.heads, self.inner) for t in (k, value))
        r = self.r(positions).view(-1, self.heads, self.inner)
        seen = k.shape[0]
        words = torch.einsum("ibnd,jbnd->bnij", q + u, k)
        places = torch.einsum("ibnd,jnd->bnij", q + v, r)
        padded = torch.cat([places.new_zeros(b, self.heads, length, 1), places], dim=3)
        places = padded.view(b, self.heads, seen + 1, length).narrow(2, 1, seen).view_as(places)
        score = (words + places).mul_(self.inner**-0.5).masked_fill_(mask, -65000.0)
        weight = legacy.softmax(score, 3)
        if self.dropped_weights:
            weight = F.dropout(weight, self.dropped_weights)
        mixed = torch.einsum("bnij,jbnd->ibnd", weight, value).contiguous().view(length, b, -1)
        result: Tensor = self.norm(x + F.dropout(self.out(mixed), self.dropout))
        return result


class TransformerXl(nn.Module):
    """Without ``--adaptive``: all 267,735 words of WikiText-103 in one softmax, its weights tied to the embedding."""

    def __init__(
        self, *, layers: int, width: int, heads: int, feed: int, dropout: float, dropped_weights: float
    ) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout
        self.embedding = nn.Embedding(267735, width)
        self.bias = nn.Parameter(torch.zeros(267735))
        self.u, self.v = (nn.Parameter(torch.zeros(heads, 64)) for _ in range(2))
        self.attention = nn.ModuleList(
            RelativeAttention(width, heads, 64, dropout=dropout, dropped_weights=dropped_weights) for _ in range(layers)
        )
        self.feed = nn.ModuleList(
            nn.Sequential(nn.Linear(width, feed), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(feed, width),
                          nn.Dropout(dropout)) for _ in range(layers)
        )  # fmt: skip
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))

    def forward(self, ids: Tensor, target: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each token, and what the next segment remembers."""
        x, remembered = self.hidden(ids, memory)
        return self.loss(x.view(-1, self.width), target.view(-1)).view(target.shape[0], -1), remembered

    def loss(self, x: Tensor, target: Tensor) -> Tensor:
        """Score every word of the vocabulary; logits live until the function returns."""
        logits = F.linear(x, self.embedding.weight, self.bias)
        return -legacy.log_softmax(logits, -1).gather(1, target.unsqueeze(1)).squeeze(1)

    def hidden(self, ids: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Run the layers; ``memory`` is (layers, length before, batch, width)."""
        x = self.embedding(ids).mul_(self.width**0.5)
        before = memory.shape[1]
        mask = torch.triu(x.new_ones(ids.shape[0], before + ids.shape[0]), diagonal=1 + before).bool()
        positions = F.dropout(x.new_zeros(before + ids.shape[0], 1, self.width), self.dropout)
        x = F.dropout(x, self.dropout)
        states = []
        for i, (attention, feed, norm) in enumerate(zip(self.attention, self.feed, self.norm, strict=True)):
            states.append(x.detach())
            x = attention(x, memory[i], positions, self.u, self.v, mask)
            x = norm(x + feed(x))
        return F.dropout(x, self.dropout), torch.stack(states).detach()


def _transformer_xl(length: int, optimizer: Callable[..., Any], **shape: Any) -> Callable[[int, Precision], None]:
    def run(batch: int, precision: Precision) -> None:
        module = TransformerXl(**shape).to("cuda").train()
        trainer = Trainer(module, optimizer, precision=precision)
        dtype = trainer.model[0].dtype
        memory = torch.empty(shape["layers"], 0, batch, shape["width"], device="cuda", dtype=dtype)
        for _ in range(STEPS):
            ids, target = (torch.zeros(length, batch, dtype=torch.long, device="cuda") for _ in range(2))
            trainer.zero_grad()
            loss, memory = module(ids, target, memory)
            loss = loss.float().mean().type_as(loss)
            trainer.backward(loss)
            trainer.step()

    return run


# --- GNMT -----------------------------------------------------------------------------------------------------------


class Gnmt(profile_text.Gnmt):
    """The layers of GNMT v2, run as its script runs them: normalised additive attention, logits held by name."""

    def __init__(self, width: int = 1024, words: int = 32320) -> None:
        super().__init__(width, words)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the logits of (length, batch) source and target."""
        x, _ = self.first(F.dropout(self.embedding(source), 0.2))
        x, _ = self.encoder[0](F.dropout(x, 0.2))
        for layer in list(self.encoder)[1:]:
            out, _ = layer(F.dropout(x, 0.2))
            x = out + x
        y, _ = self.attend(F.dropout(self.embedding(target), 0.2))
        context = self.attention(y.transpose(0, 1), x.transpose(0, 1)).transpose(0, 1)
        y, _ = self.decoder[0](F.dropout(torch.cat((y, context), dim=2), 0.2))
        for layer in list(self.decoder)[1:]:
            out, _ = layer(F.dropout(torch.cat((y, context), dim=2), 0.2))
            y = out + y
        logits: Tensor = self.head(y)
        return logits

    def attention(self, query: Tensor, keys: Tensor) -> Tensor:
        """Mix the keys, (batch, length, width), for every query."""
        scores = self.energy(self.query(query), self.key(keys))
        mask = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
        return torch.bmm(legacy.softmax(scores.masked_fill_(mask, -65504.0), -1), keys)

    def energy(self, query: Tensor, keys: Tensor) -> Tensor:
        """Score every pair; the sums live until the function returns."""
        shape = (query.shape[0], query.shape[1], keys.shape[1], query.shape[2])
        total = query.unsqueeze(2).expand(shape) + keys.unsqueeze(1).expand(shape)
        total = total + self.bias
        return torch.tanh(total).matmul(self.score / self.score.norm())


def _smoothed(logits: Tensor, target: Tensor) -> Tensor:
    chances = legacy.log_softmax(logits, -1, to_float=True)
    picked = -chances.gather(1, target.unsqueeze(1)).squeeze(1)
    mean = -chances.mean(dim=-1)
    return (0.9 * picked + 0.1 * mean).sum()


# The trainer first runs a batch of the longest sentences (``preallocate``), then batches of buckets of ten tokens.
GNMT_LENGTHS = (50, 27, 44, 18, 36)


def _gnmt(batch: int, precision: Precision) -> None:
    module = Gnmt().to("cuda").train()
    trainer = Trainer(module, legacy.adam, precision=precision)

    def iterate(length: int, *, update: bool) -> None:
        source, target = (torch.zeros(length, batch, dtype=torch.long, device="cuda") for _ in range(2))
        output = module(source, target[:-1])  # held until the step is over
        loss = _smoothed(output.view(-1, output.shape[-1]), target[1:].contiguous().view(-1))
        trainer.backward(loss / batch)
        if update:
            trainer.step()
            trainer.zero_grad()

    for i, length in enumerate(GNMT_LENGTHS):
        iterate(length, update=i > 0)


# --- NCF ------------------------------------------------------------------------------------------------------------

# MovieLens-20M: rows of (user, film) for training, and 100 films for each user to test with; all of it on the card.
_RATINGS, _TESTED, _NEGATIVES = 19_861_770, 138_493 * 100, 4


class NeuMf(profile_other.NeuMf):
    """The layers of NeuMF, run as its script runs them: without the loss, with ReLUs that keep their input."""

    def forward(self, user: Tensor, film: Tensor) -> Tensor:  # type: ignore[override]
        """Score (batch,) pairs; every name is held until the function returns."""
        user_factors, film_factors = self.factors[0](user), self.factors[1](film)
        product = user_factors * film_factors
        user_features, film_features = self.features[0](user), self.features[1](film)
        x = torch.cat((user_features, film_features), dim=1)
        for layer in self.layers:
            x = F.dropout(legacy.relu(layer(x)), 0.5)
        x = torch.cat((product, x), dim=1)
        score: Tensor = self.head(x)
        return score


def _epoch_data(ratings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Draw films that a user did not rate, join, shuffle."""
    label = torch.cat((torch.ones_like(ratings[:, 0], dtype=torch.float32),
                       torch.zeros(_RATINGS * _NEGATIVES, device="cuda")))  # fmt: skip
    more_users = ratings[:, 0].repeat(_NEGATIVES)
    users = torch.cat((ratings[:, 0], more_users))
    films = torch.cat((ratings[:, 1], torch.empty_like(more_users)))
    del more_users
    order = torch.empty(users.shape[0], dtype=torch.long, device="cuda")  # of randperm, which sorts
    keys = [torch.empty_like(order) for _ in range(3)]
    del keys
    return users[order], films[order], label[order]


def _ncf(batch: int, precision: Precision) -> None:
    ratings = torch.zeros(_RATINGS, 2, dtype=torch.long, device="cuda")
    held = [torch.zeros(_TESTED, dtype=torch.long, device="cuda") for _ in range(2)]
    held.append(torch.zeros(_TESTED, dtype=torch.uint8, device="cuda"))
    module = NeuMf().to("cuda").train()
    trainer = Trainer(module, legacy.fused_adam, precision=precision)
    users, films, labels = _epoch_data(ratings)
    for i in range(STEPS):
        part = slice(i * batch, (i + 1) * batch)
        outputs = module(users[part], films[part])
        loss = F.binary_cross_entropy_with_logits(outputs, labels[part].view(-1, 1).to(outputs), reduction="none")
        loss = loss.float().view(-1).mean()
        trainer.backward(loss)
        trainer.step()
        trainer.zero_grad(keep=False)


_LARGE = {"layers": 18, "width": 1024, "heads": 16, "feed": 4096, "dropout": 0.2, "dropped_weights": 0.2}
_BASE = {"layers": 16, "width": 512, "heads": 8, "feed": 2048, "dropout": 0.1, "dropped_weights": 0.0}
PROGRAMS: dict[str, MemoryProgram] = {
    "transformerxl_base": MemoryProgram(
        run=_transformer_xl(192, legacy.JitLamb, **_BASE), mixed="O2", batches=(1, 2, 4, 8, 16, 32, 64),
        source="LanguageModeling/Transformer-XL: --tgt_len 192 --mem_len 192 --optim jitlamb, no --adaptive",
    ),
    "transformerxl_large": MemoryProgram(
        run=_transformer_xl(256, legacy.adam, **_LARGE), mixed="O2", batches=(1, 2, 4, 8, 16, 32),
        source="LanguageModeling/Transformer-XL: --tgt_len 256 --mem_len 256 --optim adam --dropatt 0.2, no --adaptive",
    ),
    "gnmt": MemoryProgram(
        run=_gnmt, mixed="O2", batches=(32, 64, 128, 256, 512, 1024),
        source="Translation/GNMT: sentences of up to 50 tokens, the longest first",
    ),
    "waveglow": MemoryProgram(
        run=waveglow, mixed="O1", batches=(1, 2, 4, 8, 16, 32),
        source="SpeechSynthesis/Tacotron2, WaveGlow: --segment-length 8000",
    ),
    "tacotron2": MemoryProgram(
        run=tacotron2, mixed="O1", batches=(16, 64, 256),
        source="SpeechSynthesis/Tacotron2, Tacotron2: LJSpeech, batches padded to their longest",
    ),
    "ncf": MemoryProgram(
        run=_ncf, mixed="O2", batches=tuple(1 << n for n in (18, 19, 20, 21, 22, 23)),
        source="Recommendation/NCF: MovieLens-20M on the card, gradients dropped",
    ),
}  # fmt: skip
