import argparse
import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class SpeechCommandsLike(Dataset):
    def __init__(self, n, n_words, seed):
        g = torch.Generator().manual_seed(seed)
        self.word = torch.randint(n_words, (n,), generator=g)
        t = torch.linspace(0, 1, 128)
        self.wave = torch.sin(6.28 * (4 + 3 * self.word[:, None]) * t)
        self.wave = self.wave + 0.3 * torch.randn(n, 128, generator=g)

    def __len__(self):
        return len(self.word)

    def __getitem__(self, i):
        return self.wave[i].unsqueeze(0), self.word[i]


class M3(nn.Module):
    def __init__(self, n_words):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 16, 9, stride=4)
        self.conv2 = nn.Conv1d(16, 16, 3)
        self.fc = nn.Linear(16, n_words)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.fc(x.mean(-1))


class Runner:
    def __init__(self, args):
        self.every = args.update_freq
        self.net = M3(args.words)
        self.opt = torch.optim.Adam(self.net.parameters(), lr=args.lr)
        self.opt_steps = 0

    def _apply(self):
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.opt.step()
        self.opt.zero_grad()
        self.opt_steps += 1

    def epoch(self, loader):
        self.net.train()
        self.opt.zero_grad()
        last = len(loader) - 1
        for i, (wave, word) in enumerate(loader):
            loss = F.cross_entropy(self.net(wave), word)
            (loss / self.every).backward()
            if i % self.every == self.every - 1:  # BUG
            # FIX: if i % self.every == self.every - 1 or i == last:
                self._apply()
        return loss.item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--words", type=int, default=5)
    ap.add_argument("--update_freq", type=int, default=4)
    ap.add_argument("--lr", type=float, default=5e-3)
    ap.add_argument("--epochs", type=int, default=3)
    args = ap.parse_args()
    torch.manual_seed(0)
    runner = Runner(args)
    loader = DataLoader(SpeechCommandsLike(120, args.words, 0), batch_size=8, shuffle=True)
    for e in range(args.epochs):
        print(f"epoch {e} loss {runner.epoch(loader):.3f} updates {runner.opt_steps}")
    runner.net.eval()
    test = SpeechCommandsLike(40, args.words, 1)
    with torch.no_grad():
        print("acc", (runner.net(test.wave[:, None]).argmax(1) == test.word).float().mean().item())
