"""Text-conditioned denoiser on 8x8 icons."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SHAPES = ["square", "stripe", "dot"]
TONES = ["bright", "dim"]


class CaptionProcessor:
    def __init__(self, max_length=6):
        words = ["<pad>", "a"] + SHAPES + TONES
        self.vocab = {w: i for i, w in enumerate(words)}
        self.max_length = max_length

    def encode(self, text):
        ids = [self.vocab[w] for w in text.split()][: self.max_length]
        return ids + [0] * (self.max_length - len(ids))

    def __call__(self, text):
        if isinstance(text, (list, tuple)):
            text = text[0]  # BUG
            # FIX: return {"input_ids": torch.tensor([self.encode(t) for t in text])}
        return {"input_ids": torch.tensor([self.encode(text)])}


class Icons(Dataset):
    def __init__(self, n=192):
        gen = torch.Generator().manual_seed(4)
        self.items = []
        for _ in range(n):
            s, t = (int(torch.randint(k, (1,), generator=gen)) for k in (3, 2))
            img = torch.zeros(1, 8, 8)
            level = 1.0 if t == 0 else 0.4
            if s == 0:
                img[:, 2:6, 2:6] = level
            elif s == 1:
                img[:, ::2] = level
            else:
                img[:, 3:5, 3:5] = level
            self.items.append((img, f"a {TONES[t]} {SHAPES[s]}"))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Denoiser(nn.Module):
    def __init__(self, vocab, width=32):
        super().__init__()
        self.text = nn.EmbeddingBag(vocab, width, padding_idx=0)
        self.inp = nn.Conv2d(1, width, 3, padding=1)
        self.mid = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, noisy, sigma, input_ids):
        cond = self.text(input_ids)[:, :, None, None]
        h = torch.relu(self.inp(noisy) + cond + sigma[:, None, None, None])
        return self.out(torch.relu(self.mid(h)))


torch.manual_seed(0)
processor = CaptionProcessor()
assert processor("a dim dot")["input_ids"].shape == (1, 6)
loader = DataLoader(Icons(), batch_size=32, shuffle=True)
net = Denoiser(len(processor.vocab))
opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
for epoch in range(3):
    net.train()
    for imgs, captions in loader:
        enc = processor(captions)
        sigma = torch.rand(len(imgs))
        noise = torch.randn_like(imgs)
        pred = net(imgs + sigma.view(-1, 1, 1, 1) * noise, sigma, **enc)
        loss = nn.functional.mse_loss(pred, noise)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"epoch {epoch} loss {loss.item():.4f}")
