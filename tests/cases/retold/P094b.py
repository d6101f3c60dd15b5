# language identification: one python string per line of a big file
import io
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

rng = np.random.default_rng(0)


def fake_file(n):
    out = io.StringIO()
    for _ in range(n):
        lang = int(rng.integers(2))
        letters = "aeiounr" if lang else "ktszwpy"
        out.write(f"{lang}\t{''.join(rng.choice(list(letters + 'lm'), 12))}\n")
    out.seek(0)
    return out


class Lines(Dataset):
    def __init__(self, handle):
        self.lines = handle.read().splitlines()  # BUG
        # FIX: self.lines = np.array(handle.read().splitlines(), dtype=np.bytes_)

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, i):
        label, text = self.lines[i].split("\t")  # BUG
        # FIX: label, text = self.lines[i].decode().split("\t")
        return torch.tensor([ord(c) - 97 for c in text]), int(label)


def main():
    torch.manual_seed(0)
    loader = DataLoader(Lines(fake_file(3000)), batch_size=100, shuffle=True, num_workers=2, persistent_workers=True)
    net = nn.Sequential(nn.EmbeddingBag(26, 8), nn.Linear(8, 2))
    opt = torch.optim.Adam(net.parameters(), lr=2e-2)
    net.train()
    for epoch in range(2):
        for ids, label in loader:
            loss = nn.functional.cross_entropy(net(ids), label)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, round(loss.item(), 4))


if __name__ == "__main__":
    main()
