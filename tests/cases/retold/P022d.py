"""Utterance-level emotion classifier, GRU over frames and attentive pooling (time first)."""
import torch
import torch.nn as nn

N_MELS, N_CLASSES = 20, 4


class AttentivePool(nn.Module):
    axis = 1  # BUG
    # FIX: axis = 0

    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Linear(dim, dim)
        self.context = nn.Linear(dim, 1, bias=False)

    def forward(self, frames, pad):
        # frames: (T, B, D), pad: (T, B), True where padded
        energy = self.context(torch.tanh(self.proj(frames))).squeeze(-1)
        energy = energy.masked_fill(pad, -1e4)
        alpha = energy.softmax(self.axis)  # BUG
        return torch.einsum("tb,tbd->bd", alpha, frames)


class EmotionNet(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.norm = nn.LayerNorm(N_MELS)
        self.gru = nn.GRU(N_MELS, hidden, bidirectional=True)
        self.pool = AttentivePool(2 * hidden)
        self.cls = nn.Sequential(nn.Dropout(0.1), nn.Linear(2 * hidden, N_CLASSES))

    def forward(self, mels, pad):
        h, _ = self.gru(self.norm(mels))
        return self.cls(self.pool(h, pad))

    @torch.no_grad()
    def posteriors(self, mels, pad):
        return self(mels, pad).softmax(dim=1)


def collate(batch):
    feats, labels = zip(*batch)
    lens = torch.tensor([len(f) for f in feats])
    mels = nn.utils.rnn.pad_sequence(feats)
    pad = torch.arange(mels.size(0))[:, None] >= lens[None, :]
    return mels, pad, torch.tensor(labels)


def fake_corpus(n):
    proto = torch.randn(N_CLASSES, N_MELS)
    out = []
    for k in range(n):
        c = k % N_CLASSES
        x = torch.randn(int(torch.randint(20, 45, ())), N_MELS)
        x[5:12] += 1.5 * proto[c]
        out.append((x, c))
    return out


if __name__ == "__main__":
    torch.manual_seed(5)
    corpus = fake_corpus(160)
    loader = torch.utils.data.DataLoader(corpus[:128], 16, shuffle=True, collate_fn=collate)
    model = EmotionNet()
    opt = torch.optim.Adam(model.parameters(), 2e-3)
    for epoch in range(3):
        model.train()
        for mels, pad, y in loader:
            loss = nn.functional.cross_entropy(model(mels, pad), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        mels, pad, y = collate(corpus[128:])
        acc = (model.posteriors(mels, pad).argmax(-1) == y).float().mean()
        print(f"epoch {epoch}: loss {loss:.3f}, acc {acc:.2f}")
