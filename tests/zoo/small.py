"""Twelve training cases that really run: peak 20 to 200 MB, under 1.5 s a step on two CPU cores.

Convolutions and matrix products in bfloat16 are slow on a CPU without instructions for them; so the
two autocast cases are smaller than the others.

Each function takes a device and returns a `Case`. `train_step` is the step they share, so that a
live and a virtual run execute the same lines:

    case = CASES["mlp_sgd"]("cpu")
    optimizer = case.make_optimizer(case.model.parameters())
    train_step(case, optimizer)
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.layers import MultiHeadAttention, Residual, ScaledDotProduct, classifier, conv_norm, mlp
from zoo.resnet import basic_block
from zoo.unet import UNet

Device = str | torch.device
Batch = tuple[Tensor, Tensor]


class Case(NamedTuple):
    """What one training step needs."""

    model: nn.Module
    make_batch: Callable[[], Batch]
    loss_fn: Callable[[nn.Module, Batch], Tensor]
    make_optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    autocast_dtype: torch.dtype | None = None


def train_step(case: Case, optimizer: torch.optim.Optimizer) -> Tensor:
    """Run one step: new batch, forward (under autocast if the case says so), backward, update."""
    batch = case.make_batch()
    optimizer.zero_grad()
    with torch.autocast(batch[0].device.type, case.autocast_dtype, enabled=case.autocast_dtype is not None):
        loss = case.loss_fn(case.model, batch)
    loss.backward()
    optimizer.step()
    return loss.detach()


# Batches and losses


def _images(count: int, side: int, classes: int, device: Device) -> Batch:
    images = torch.randn(count, 3, side, side, device=device)
    return images, torch.randint(classes, (count,), device=device)


def _vectors(count: int, width: int, classes: int, device: Device) -> Batch:
    features = torch.randn(count, width, device=device)
    return features, torch.randint(classes, (count,), device=device)


def _next_tokens(count: int, length: int, vocabulary: int, device: Device) -> Batch:
    tokens = torch.randint(vocabulary, (count, length + 1), device=device)
    return tokens[:, :-1], tokens[:, 1:]


def _labelled_tokens(count: int, length: int, vocabulary: int, classes: int, device: Device) -> Batch:
    tokens = torch.randint(vocabulary, (count, length), device=device)
    return tokens, torch.randint(classes, (count,), device=device)


def _classification_loss(model: nn.Module, batch: Batch) -> Tensor:
    inputs, targets = batch
    logits = model(inputs)
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


_SGD = partial(torch.optim.SGD, lr=0.01)
_MOMENTUM = partial(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=1e-4)
_ADAMW = partial(torch.optim.AdamW, lr=1e-3)


# Models


class Checkpointed(nn.Sequential):
    """A sequence whose members are recomputed in the backward pass."""

    def __init__(self, *members: nn.Module, use_reentrant: bool) -> None:
        super().__init__(*members)
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        """Keep only what enters each member."""
        for member in self:
            x = checkpoint(member, x, use_reentrant=self.use_reentrant)
        return x


class CausalAttention(MultiHeadAttention):
    """Self-attention that sees no later token."""

    class _Causal(ScaledDotProduct):
        def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=True)

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.attend = self._Causal()


def _block(width: int, heads: int, *, causal: bool) -> nn.Sequential:
    attention = (CausalAttention if causal else MultiHeadAttention)(width, heads)
    return nn.Sequential(
        Residual(nn.Sequential(nn.LayerNorm(width), attention)),
        Residual(nn.Sequential(nn.LayerNorm(width), mlp(width, 4 * width))),
    )


class LanguageModel(nn.Module):
    """Decoder whose output layer is tied to its embedding."""

    def __init__(self, *, vocabulary: int, length: int, width: int, blocks: nn.Sequential) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.blocks = blocks
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, length) to (n, length, vocabulary)."""
        x = self.blocks(self.tokens(tokens) + self.positions)
        logits: Tensor = self.head(self.norm(x))
        return logits


class RecurrentClassifier(nn.Module):
    """Embedding, LSTM or GRU over the tokens, linear layer on the last state."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], *, vocabulary: int, width: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.rnn = kind(width, 2 * width, num_layers=2, batch_first=True)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, length) to (n, classes)."""
        states, _ = self.rnn(self.embedding(tokens))
        logits: Tensor = self.head(states[:, -1])
        return logits


class MeanPool(nn.Module):
    """Average over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to (n, width)."""
        return x.mean(dim=1)


# Cases


def mlp_sgd(device: Device) -> Case:
    """Wide MLP, plain SGD: parameters and gradients dominate."""
    layers: list[nn.Module] = [nn.Linear(1024, 2048), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Linear(2048, 2048), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(2048, 10)).to(device)
    return Case(model, partial(_vectors, 512, 1024, 10, device), _classification_loss, _SGD)


def mlp_adamw(device: Device) -> Case:
    """MLP with layer norm and dropout, AdamW: optimizer state comes with the first step."""
    layers: list[nn.Module] = []
    width = 512
    for _ in range(3):
        layers += [nn.Linear(width, 1024), nn.LayerNorm(1024), nn.GELU(), nn.Dropout(0.1)]
        width = 1024
    model = nn.Sequential(*layers, nn.Linear(width, 100)).to(device)
    return Case(model, partial(_vectors, 1024, 512, 100, device), _classification_loss, _ADAMW)


def cnn_bn_sgd(device: Device) -> Case:
    """Plain CNN with batch norm, SGD with momentum: activations dominate."""
    model = nn.Sequential(
        conv_norm(3, 32, 3),
        nn.MaxPool2d(2),
        conv_norm(32, 64, 3),
        nn.MaxPool2d(2),
        conv_norm(64, 128, 3),
        classifier(128, 10),
    ).to(device)
    return Case(model, partial(_images, 32, 64, 10, device), _classification_loss, _MOMENTUM)


def resnet_adamw(device: Device) -> Case:
    """Residual network for 32 x 32 images, AdamW."""
    blocks: list[nn.Module] = [conv_norm(3, 16, 3)]
    channels = 16
    for width in (16, 32, 64):
        for number in range(2):
            stride = 2 if number == 0 and width > channels else 1
            blocks.append(basic_block(channels, width, stride))
            channels = width
    model = nn.Sequential(*blocks, classifier(64, 10)).to(device)
    return Case(model, partial(_images, 64, 32, 10, device), _classification_loss, _ADAMW)


def transformer_encoder_fp32(device: Device) -> Case:
    """Transformer encoder in float32 over token embeddings, AdamW."""
    blocks = [_block(256, 4, causal=False) for _ in range(4)]
    model = nn.Sequential(nn.Embedding(1000, 256), *blocks, nn.LayerNorm(256), MeanPool(), nn.Linear(256, 10)).to(
        device
    )
    batches = partial(_labelled_tokens, 8, 128, 1000, 10, device)
    return Case(model, batches, _classification_loss, _ADAMW)


def transformer_lm_bf16(device: Device) -> Case:
    """Causal language model with tied embedding under bfloat16 autocast, AdamW."""
    blocks = nn.Sequential(*(_block(192, 4, causal=True) for _ in range(3)))
    model = LanguageModel(vocabulary=1024, length=64, width=192, blocks=blocks).to(device)
    batches = partial(_next_tokens, 4, 64, 1024, device)
    return Case(model, batches, _classification_loss, _ADAMW, torch.bfloat16)


def transformer_checkpointed(device: Device) -> Case:
    """Causal language model in float32, each block recomputed (non-reentrant), AdamW."""
    blocks = Checkpointed(*(_block(256, 4, causal=True) for _ in range(6)), use_reentrant=False)
    model = LanguageModel(vocabulary=4096, length=128, width=256, blocks=blocks).to(device)
    batches = partial(_next_tokens, 8, 128, 4096, device)
    return Case(model, batches, _classification_loss, _ADAMW)


def mlp_checkpointed_reentrant(device: Device) -> Case:
    """MLP recomputed in pieces by the reentrant mode; the first layer stays outside."""
    pieces = [nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.Linear(2048, 512), nn.GELU()) for _ in range(4)]
    model = nn.Sequential(nn.Linear(256, 512), Checkpointed(*pieces, use_reentrant=True), nn.Linear(512, 10)).to(device)
    return Case(model, partial(_vectors, 1024, 256, 10, device), _classification_loss, _MOMENTUM)


def lstm_classifier(device: Device) -> Case:
    """Two-layer LSTM over tokens, AdamW."""
    model = RecurrentClassifier(nn.LSTM, vocabulary=5000, width=128, classes=10).to(device)
    batches = partial(_labelled_tokens, 48, 64, 5000, 10, device)
    return Case(model, batches, _classification_loss, _ADAMW)


def gru_classifier(device: Device) -> Case:
    """Two-layer GRU over tokens, SGD with momentum."""
    model = RecurrentClassifier(nn.GRU, vocabulary=5000, width=128, classes=10).to(device)
    batches = partial(_labelled_tokens, 48, 64, 5000, 10, device)
    return Case(model, batches, _classification_loss, _MOMENTUM)


def unet_adamw(device: Device) -> Case:
    """U-Net with a mask loss, AdamW: skips live until late in the forward pass."""

    def masks() -> Batch:
        images = torch.randn(4, 3, 96, 96, device=device)
        return images, (images.mean(dim=1, keepdim=True) > 0).float()

    def mask_loss(model: nn.Module, batch: Batch) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(batch[0]), batch[1])

    model = UNet(num_classes=1, base=16).to(device)
    return Case(model, masks, mask_loss, _ADAMW)


def cnn_bf16_checkpointed(device: Device) -> Case:
    """CNN under bfloat16 autocast, its stages recomputed (non-reentrant), SGD with momentum."""
    stages = [
        nn.Sequential(conv_norm(before, after, 3), conv_norm(after, after, 3), nn.MaxPool2d(2))
        for before, after in ((3, 8), (8, 16))
    ]
    model = nn.Sequential(Checkpointed(*stages, use_reentrant=False), classifier(16, 10))
    batches = partial(_images, 16, 96, 10, device)
    return Case(model.to(device), batches, _classification_loss, _MOMENTUM, torch.bfloat16)


CASES: dict[str, Callable[[Device], Case]] = {
    make.__name__: make
    for make in (
        mlp_sgd,
        mlp_adamw,
        cnn_bn_sgd,
        resnet_adamw,
        transformer_encoder_fp32,
        transformer_lm_bf16,
        transformer_checkpointed,
        mlp_checkpointed_reentrant,
        lstm_classifier,
        gru_classifier,
        unet_adamw,
        cnn_bf16_checkpointed,
    )
}
