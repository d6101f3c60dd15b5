"""SSD, NCF, Tacotron 2, WaveGlow, Jasper, QuartzNet and U-Nets, as NVIDIA's DeepLearningExamples have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.resnet import resnet

# --- SSD300 with a ResNet-50 backbone -----------------------------------------------------------------------------


class Ssd(nn.Module):
    """SSD300: ResNet-50 up to its third stage (without its stride), five extra blocks, 8,732 boxes, 81 classes."""

    def __init__(self) -> None:
        super().__init__()
        stages = dict(resnet(50).named_children())
        names = [n for n in stages if n not in ("stage4", "head")]
        self.backbone = nn.Sequential(*(stages[n] for n in names))
        for module in self.backbone[-1].modules():
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.stride = (1, 1)
        channels, middles, outs = 1024, (256, 256, 128, 128, 128), (512, 512, 256, 256, 256)
        extra: list[nn.Module] = []
        for i, (middle, out) in enumerate(zip(middles, outs, strict=True)):
            strided = {"stride": 2, "padding": 1} if i < 3 else {}
            extra.append(nn.Sequential(
                nn.Conv2d(channels, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True),
                nn.Conv2d(middle, out, 3, bias=False, **strided), nn.BatchNorm2d(out), nn.ReLU(inplace=True),
            ))  # fmt: skip
            channels = out
        self.extra = nn.ModuleList(extra)
        widths, boxes = (1024, *outs), (4, 6, 6, 6, 4, 4)
        self.location = nn.ModuleList(nn.Conv2d(w, 4 * n, 3, padding=1) for w, n in zip(widths, boxes, strict=True))
        self.label = nn.ModuleList(nn.Conv2d(w, 81 * n, 3, padding=1) for w, n in zip(widths, boxes, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return the loss of a batch of images (SmoothL1 and cross entropy with hard negatives)."""
        maps = [self.backbone(x)]
        for block in self.extra:
            maps.append(block(maps[-1]))
        b = x.shape[0]
        places = torch.cat([f(m).view(b, 4, -1) for f, m in zip(self.location, maps, strict=True)], 2).float()
        labels = torch.cat([f(m).view(b, 81, -1) for f, m in zip(self.label, maps, strict=True)], 2).float()
        target = torch.zeros(b, labels.shape[2], dtype=torch.long, device=x.device)
        loss = F.cross_entropy(labels, target, reduction="none")
        rank = loss.detach().sort(dim=1, descending=True)[1].sort(dim=1)[1]
        hard = (loss * (rank < 300).float()).sum(dim=1)
        return (
            F.smooth_l1_loss(places, torch.zeros_like(places), reduction="none").sum(dim=1).sum(dim=1) + hard
        ).mean()


# --- neural collaborative filtering -------------------------------------------------------------------------------


class NeuMf(nn.Module):
    """NeuMF on MovieLens-20M: 138,493 users, 26,744 films, factors of 64, an MLP of 256, 256, 128, 64."""

    def __init__(self, users: int = 138493, films: int = 26744) -> None:
        super().__init__()
        self.factors = nn.ModuleList(nn.Embedding(n, 64) for n in (users, films))
        self.features = nn.ModuleList(nn.Embedding(n, 128) for n in (users, films))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in ((256, 256), (256, 128), (128, 64)))
        self.head = nn.Linear(128, 1)

    def forward(self, user: Tensor, film: Tensor, label: Tensor) -> Tensor:
        """Return the loss of (batch,) pairs."""
        product = self.factors[0](user) * self.factors[1](film)
        x = torch.cat([self.features[0](user), self.features[1](film)], dim=1)
        for layer in self.layers:
            x = F.dropout(F.relu(layer(x)), 0.5)
        score = self.head(torch.cat([product, x], dim=1))
        return F.binary_cross_entropy_with_logits(score.view(-1).float(), label)


def pairs(b: int, s: int) -> tuple[Tensor, ...]:
    """Make users, films and labels."""
    ids = torch.zeros(b, dtype=torch.long, device="cuda")
    return ids, ids.clone(), torch.zeros(b, device="cuda")


# --- speech synthesis ---------------------------------------------------------------------------------------------


class Tacotron2(nn.Module):
    """Tacotron 2: convolutions and a BiLSTM over text, a decoder that makes a frame of 80 mels at a time, a postnet."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(148, 512)
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv1d(512, 512, 5, padding=2), nn.BatchNorm1d(512)) for _ in range(3)
        )
        self.encoder = nn.LSTM(512, 256, batch_first=True, bidirectional=True)
        self.prenet = nn.ModuleList((nn.Linear(80, 256, bias=False), nn.Linear(256, 256, bias=False)))
        self.attention_rnn, self.decoder_rnn = nn.LSTMCell(768, 1024), nn.LSTMCell(1536, 1024)
        self.query, self.key = nn.Linear(1024, 128, bias=False), nn.Linear(512, 128, bias=False)
        self.score = nn.Linear(128, 1, bias=False)
        self.place, self.place_dense = nn.Conv1d(2, 32, 31, padding=15, bias=False), nn.Linear(32, 128, bias=False)
        self.project, self.gate = nn.Linear(1536, 80), nn.Linear(1536, 1)
        widths = ((80, 512), (512, 512), (512, 512), (512, 512), (512, 80))
        self.postnet = nn.ModuleList(nn.Sequential(nn.Conv1d(a, b, 5, padding=2), nn.BatchNorm1d(b)) for a, b in widths)

    def forward(self, text: Tensor, mels: Tensor) -> Tensor:
        """Return the loss of (batch, letters) text and (batch, 80, frames) mels."""
        x = self.embedding(text).transpose(1, 2)
        for layer in self.convolutions:
            x = F.dropout(F.relu(layer(x)), 0.5)
        memory, _ = self.encoder(x.transpose(1, 2))
        frames, gates = self.decode(memory, mels)
        y = frames
        for i, layer in enumerate(self.postnet):
            y = layer(y)
            y = F.dropout(torch.tanh(y) if i < 4 else y, 0.5)
        both = F.mse_loss(frames, mels) + F.mse_loss(frames + y, mels)
        return both + F.binary_cross_entropy_with_logits(gates, torch.zeros_like(gates))

    def decode(self, memory: Tensor, mels: Tensor) -> tuple[Tensor, Tensor]:
        """Run the decoder, one frame after the other, with the right frame before as input."""
        b, device = memory.shape[0], memory.device
        x = mels.permute(2, 0, 1)
        for layer in self.prenet:
            x = F.dropout(F.relu(layer(x)), 0.5)
        h1, c1, h2, c2 = (torch.zeros(b, 1024, device=device, dtype=memory.dtype) for _ in range(4))
        weights, total = (torch.zeros(b, memory.shape[1], device=device, dtype=memory.dtype) for _ in range(2))
        context = torch.zeros(b, 512, device=device, dtype=memory.dtype)
        keys, frames, gates = self.key(memory), [], []
        for step in range(mels.shape[2]):
            h1, c1 = self.attention_rnn(torch.cat((x[step], context), -1), (h1, c1))
            h1 = F.dropout(h1, 0.1)
            places = self.place_dense(self.place(torch.stack((weights, total), dim=1)).transpose(1, 2))
            energy = self.score(torch.tanh(self.query(h1).unsqueeze(1) + places + keys)).squeeze(-1)
            weights = F.softmax(energy.masked_fill(torch.zeros_like(energy, dtype=torch.bool), -1e4), dim=1)
            context = torch.bmm(weights.unsqueeze(1).to(memory.dtype), memory).squeeze(1)
            total = total + weights
            h2, c2 = self.decoder_rnn(torch.cat((h1, context), -1), (h2, c2))
            h2 = F.dropout(h2, 0.1)
            out = torch.cat((h2, context), dim=1)
            frames.append(self.project(out))
            gates.append(self.gate(out))
        return torch.stack(frames, dim=2), torch.stack(gates)


def speech(letters: int, frames: int) -> Any:
    """Make text and mels."""
    return lambda b, s: (
        torch.zeros(b, letters, dtype=torch.long, device="cuda"),
        torch.zeros(b, 80, frames, device="cuda"),
    )


class WaveGlow(nn.Module):
    """WaveGlow: 12 flows over groups of 8 samples; each a WaveNet of 8 layers of 512 channels, as NVIDIA has it."""

    def __init__(self, channels: int = 512, flows: int = 12, layers: int = 8) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose1d(80, 80, 1024, stride=256)
        self.inverse, self.nets = nn.ModuleList(), nn.ModuleList()
        width = 8
        for k in range(flows):
            width -= 2 if k % 4 == 0 and k > 0 else 0
            self.inverse.append(nn.Conv1d(width, width, 1, bias=False))
            self.nets.append(WaveNet(width // 2, channels, layers))

    def forward(self, mels: Tensor, audio: Tensor) -> Tensor:
        """Return the loss of (batch, 80, frames) mels and (batch, samples) audio."""
        spread = self.upsample(mels)[:, :, : audio.shape[1]]
        spread = spread.unfold(2, 8, 8).permute(0, 2, 1, 3).contiguous().view(audio.shape[0], -1, 640).transpose(1, 2)
        x = audio.unfold(1, 8, 8).transpose(1, 2)
        outs, loss = [], torch.zeros((), device=x.device)
        for k, (inverse, net) in enumerate(zip(self.inverse, self.nets, strict=True)):
            if k % 4 == 0 and k > 0:
                outs.append(x[:, :2])
                x = x[:, 2:]
            x = inverse(x)
            first, second = x.chunk(2, dim=1)
            bias, scale = net(first, spread).chunk(2, dim=1)
            second = torch.exp(scale) * second + bias
            loss = loss - scale.sum()
            x = torch.cat((first, second), dim=1)
        z = torch.cat([*outs, x], dim=1)
        return (z * z).sum() + loss


class WaveNet(nn.Module):
    """The transformation inside a flow: dilated convolutions with a gate, conditioned on the mels."""

    def __init__(self, width: int, channels: int, layers: int) -> None:
        super().__init__()
        self.start, self.end = nn.Conv1d(width, channels, 1), nn.Conv1d(channels, 2 * width, 1)
        self.dilated = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, 3, dilation=2**i, padding=2**i) for i in range(layers)
        )
        self.condition = nn.ModuleList(nn.Conv1d(640, 2 * channels, 1) for _ in range(layers))
        self.rest = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels if i < layers - 1 else channels, 1) for i in range(layers)
        )
        self.channels = channels

    def forward(self, x: Tensor, spread: Tensor) -> Tensor:
        """Map (batch, width, time) to scale and bias."""
        x = self.start(x)
        total: Any = 0
        for i, (dilated, condition, rest) in enumerate(zip(self.dilated, self.condition, self.rest, strict=True)):
            gate = dilated(x) + condition(spread)
            acts = torch.tanh(gate[:, : self.channels]) * torch.sigmoid(gate[:, self.channels :])
            out = rest(acts)
            if i < len(self.rest) - 1:
                x = x + out[:, : self.channels]
                out = out[:, self.channels :]
            total = total + out
        result: Tensor = self.end(total)
        return result


def waves(samples: int) -> Any:
    """Make mels and audio."""
    return lambda b, s: (torch.zeros(b, 80, samples // 256, device="cuda"), torch.zeros(b, samples, device="cuda"))


# --- speech recognition -------------------------------------------------------------------------------------------


class JasperBlock(nn.Module):
    """Convolutions over time, each with a norm; the residual joins before the last activation."""

    def __init__(
        self, channels: int, out: int, kernel: int, repeats: int, *, separable: bool, dilation: int = 1, stride: int = 1
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(repeats):
            width = channels if i == 0 else out
            padding = (kernel // 2) * dilation
            options: dict[str, Any] = {"padding": padding, "dilation": dilation, "stride": stride, "bias": False}
            if separable:
                layers.append(nn.Sequential(nn.Conv1d(width, width, kernel, groups=width, **options),
                                            nn.Conv1d(width, out, 1, bias=False), nn.BatchNorm1d(out)))  # fmt: skip
            else:
                layers.append(nn.Sequential(nn.Conv1d(width, out, kernel, **options), nn.BatchNorm1d(out)))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, residuals: Sequence[Tensor] = ()) -> Tensor:
        """Map (batch, channels, time)."""
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i == len(self.layers) - 1:
                for r in residuals:
                    x = x + r
            x = F.dropout(F.relu(x), 0.2)
        return x


class Recogniser(nn.Module):
    """Jasper 10x5 with dense residuals, or QuartzNet 15x5, with the CTC loss left out (a small part)."""

    def __init__(self, *, quartznet: bool) -> None:
        super().__init__()
        self.dense = not quartznet
        self.first = JasperBlock(64, 256, 33 if quartznet else 11, 1, separable=quartznet, stride=2)
        plan = (
            ((256, 33), (256, 39), (512, 51), (512, 63), (512, 75))
            if quartznet
            else ((256, 11), (384, 13), (512, 17), (640, 21), (768, 25))
        )
        each = 3 if quartznet else 2
        blocks, residual, channels = [], [], 256
        history = [256]
        for out, kernel in plan:
            for _ in range(each):
                blocks.append(JasperBlock(channels, out, kernel, 5, separable=quartznet))
                sources = history if self.dense else [channels]
                residual.append(
                    nn.ModuleList(nn.Sequential(nn.Conv1d(c, out, 1, bias=False), nn.BatchNorm1d(out)) for c in sources)
                )
                channels = out
                history.append(out)
        self.blocks, self.residual = nn.ModuleList(blocks), nn.ModuleList(residual)
        last, wide = (512, 1024) if quartznet else (896, 1024)
        self.tail = nn.ModuleList((
            JasperBlock(channels, last, 87 if quartznet else 29, 1, separable=quartznet, dilation=2),
            JasperBlock(last, wide, 1, 1, separable=False),
        ))  # fmt: skip
        self.head = nn.Conv1d(wide, 29, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean log probability of (batch, 64, frames)."""
        x = self.first(x)
        history = [x]
        for block, residual in zip(self.blocks, self.residual, strict=True):
            sources = history if self.dense else [history[-1]]
            history.append(block(history[-1], [r(h) for r, h in zip(residual, sources, strict=True)]))
        y = history[-1]
        for block in self.tail:
            y = block(y)
        return F.log_softmax(self.head(y).transpose(1, 2), dim=-1).mean()


def frames(number: int) -> Any:
    """Make spectrograms of 64 bands."""
    return lambda b, s: (torch.zeros(b, 64, number, device="cuda"),)


# --- nnU-Net ------------------------------------------------------------------------------------------------------


class NnUnet(nn.Module):
    """The U-Net of DeepLearningExamples' nnU-Net for brain tumours, with instance norms and strided convolutions."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        conv, up = (nn.Conv2d, nn.ConvTranspose2d) if dimensions == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        norm = nn.InstanceNorm2d if dimensions == 2 else nn.InstanceNorm3d
        widths = (32, 64, 128, 256, 512, 512) if dimensions == 2 else (32, 64, 128, 256, 320, 320)

        def double(a: int, b: int, stride: int) -> nn.Sequential:
            return nn.Sequential(
                conv(a, b, 3, stride=stride, padding=1, bias=False), norm(b, affine=True), nn.LeakyReLU(0.01, True),
                conv(b, b, 3, padding=1, bias=False), norm(b, affine=True), nn.LeakyReLU(0.01, True),
            )  # fmt: skip

        sources = (4, *widths[:-1])
        self.down = nn.ModuleList(
            double(a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(zip(sources, widths, strict=True))
        )
        self.up = nn.ModuleList(up(a, b, 2, stride=2) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.join = nn.ModuleList(double(2 * b, b, 1) for b in widths[-2::-1])
        self.head = conv(widths[0], 4, 1)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Return the loss (cross entropy and Dice)."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
            x = join(torch.cat((up(x), skip), dim=1))
        logits = self.head(x).float()
        share = torch.softmax(logits, dim=1)
        return F.cross_entropy(logits, target) + (share * share).sum()


def volumes(*sizes: int) -> Any:
    """Make images or volumes of 4 channels, and their labels."""
    return lambda b, s: (
        torch.zeros(b, 4, *sizes, device="cuda"),
        torch.zeros(b, *sizes, dtype=torch.long, device="cuda"),
    )
