import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class NoisySpeech(Dataset):
    """Mixes a clean utterance with noise at a random level."""

    def __init__(self, n=48, length=320):
        t = np.arange(length) / length
        self.f0 = np.linspace(4, 16, n)
        self.clean = np.sin(2 * np.pi * self.f0[:, None] * t).astype(np.float32)

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, i):
        level = np.random.uniform(0.05, 0.4)
        noise = np.random.standard_normal(self.clean.shape[1]).astype(np.float32)
        return torch.from_numpy(self.clean[i] + np.float32(level) * noise)[None], torch.from_numpy(self.clean[i])[None]


def init_fn(worker_id):
    state = np.random.RandomState(1234).get_state()  # BUG
    # FIX: info = torch.utils.data.get_worker_info()
    # FIX: state = np.random.RandomState(info.seed % 2**32).get_state()
    np.random.set_state(state)


def main():
    torch.manual_seed(0)
    loader = DataLoader(NoisySpeech(), batch_size=8, shuffle=True, num_workers=2, worker_init_fn=init_fn)
    net = nn.Sequential(nn.Conv1d(1, 16, 9, padding=4), nn.Tanh(), nn.Conv1d(16, 1, 9, padding=4))
    opt = torch.optim.AdamW(net.parameters(), lr=5e-3)
    net.train()
    for ep in range(2):
        losses = []
        for noisy, clean in loader:
            loss = nn.functional.mse_loss(net(noisy), clean)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print("epoch", ep, "loss", round(float(np.mean(losses)), 4))


if __name__ == "__main__":
    main()
