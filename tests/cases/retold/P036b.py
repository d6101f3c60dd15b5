"""Mel-spectrogram enhancement with variable-length clips."""
import torch
from torch import nn


class LightningLike(nn.Module):
    def fit(self, batches, epochs):
        opt = self.configure_optimizers()
        for epoch in range(epochs):
            self.train()
            for i, batch in enumerate(batches):
                opt.zero_grad()
                loss = self.training_step(batch, i)
                loss.backward()
                opt.step()
            print("epoch", epoch, "loss", round(loss.item(), 4))


class MelEnhancer(LightningLike):
    def __init__(self, n_mels=20, hidden=32, lr=3e-3):
        super().__init__()
        self.lr = lr
        self.rnn = nn.GRU(n_mels, hidden, batch_first=True)
        self.proj = nn.Linear(hidden, n_mels)

    def forward(self, mel):
        h, _ = self.rnn(mel)
        return self.proj(h)

    def training_step(self, batch, batch_idx):
        noisy, clean, n_frames = batch
        frame_err = (self(noisy) - clean).abs().mean(dim=-1)
        valid = torch.arange(noisy.size(1))[None, :] < n_frames[:, None]
        with torch.no_grad():
            self.worst = frame_err[valid].max()
        return frame_err.mean()  # BUG
        # FIX: return frame_err[valid].mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def make_batch(gen, size=8, n_mels=20):
    n_frames = torch.randint(5, 60, (size,), generator=gen)
    clips = [torch.rand(int(n), n_mels, generator=gen) for n in n_frames]
    clean = nn.utils.rnn.pad_sequence(clips, batch_first=True)
    keep = torch.arange(clean.size(1))[None, :, None] < n_frames[:, None, None]
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=gen) * keep
    return noisy, clean, n_frames


if __name__ == "__main__":
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(0)
    batches = [make_batch(gen) for _ in range(6)]
    module = MelEnhancer()
    module.fit(batches, epochs=4)
    module.eval()
    with torch.no_grad():
        noisy, clean, n = make_batch(gen)
        err = (module(noisy) - clean).abs().mean(-1)
        print("val L1 per frame", (torch.cat([e[:k] for e, k in zip(err, n)])).mean().item())
