"""VQ autoencoder over spectrogram-like frames."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Quantiser(nn.Module):
    def __init__(self, n_codes, dim, commitment=0.25):
        super().__init__()
        self.codebook = nn.Embedding(n_codes, dim)
        nn.init.uniform_(self.codebook.weight, -1.0, 1.0)
        self.commitment = commitment

    @torch.no_grad()
    def nearest(self, z):
        # z: (B, T, D) -> (B, T)
        offsets = z.unsqueeze(2) - self.codebook.weight.view(1, 1, *self.codebook.weight.shape)  # BUG
        # FIX: away = torch.cdist(z.flatten(0, 1), self.codebook.weight)
        away = offsets.square().sum(dim=-1)  # BUG
        # FIX: away = away.view(z.size(0), z.size(1), -1)
        return away.argmin(dim=-1)

    def forward(self, z):
        codes = self.nearest(z)
        q = self.codebook(codes)
        loss = F.mse_loss(q, z.detach()) + self.commitment * F.mse_loss(z, q.detach())
        q = z + (q - z).detach()  # straight-through
        return q, loss, codes


class VQAutoencoder(nn.Module):
    def __init__(self, n_mels=40, dim=32, n_codes=512):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(n_mels, 64), nn.GELU(), nn.Linear(64, dim))
        self.vq = Quantiser(n_codes, dim)
        self.dec = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, n_mels))

    def forward(self, mel):
        q, vq_loss, codes = self.vq(self.enc(mel))
        return self.dec(q), vq_loss, codes


def frames(batch, length, n_mels, gen):
    t = torch.arange(length)[None, :, None]
    band = torch.arange(n_mels)[None, None, :]
    speed = torch.rand(batch, 1, 1, generator=gen)
    noise = 0.05 * torch.randn(batch, length, n_mels, generator=gen)
    return torch.sin(0.2 * t * speed + 0.15 * band) + noise


def main():
    torch.manual_seed(23)
    gen = torch.Generator().manual_seed(24)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = VQAutoencoder().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    for step in range(20):
        mel = frames(8, 64, 40, gen).to(device)
        recon, vq_loss, codes = model(mel)
        loss = F.l1_loss(recon, mel) + vq_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 5 == 4:
            print(f"step {step + 1} loss {loss.item():.4f} codes in use {codes.unique().numel()}")

    model.eval()
    with torch.no_grad():
        mel = frames(4, 64, 40, gen).to(device)
        print("val l1", F.l1_loss(model(mel)[0], mel).item())


if __name__ == "__main__":
    main()
