"""Pixel-based Q-learning with frames kept as uint8 in the replay memory."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F


class ReplayMemory:
    def __init__(self, capacity, shape):
        self.obs = torch.zeros((capacity, *shape), dtype=torch.uint8)
        self.next_obs = torch.zeros_like(self.obs)
        self.action = torch.zeros(capacity, dtype=torch.long)
        self.reward = torch.zeros(capacity)
        self.size = 0

    def push(self, o, a, r, o2):
        i = self.size
        self.obs[i], self.action[i], self.reward[i], self.next_obs[i] = o, a, r, o2
        self.size += 1

    def sample(self, n):
        i = torch.randint(0, self.size, (n,))
        as_input = lambda frames: frames[i].to(torch.float32)  # BUG
        # FIX: as_input = lambda frames: frames[i].to(torch.float32) / 255.0
        return as_input(self.obs), self.action[i], self.reward[i], as_input(self.next_obs)


class QNet(nn.Module):
    def __init__(self, n_actions):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 8, 4, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.Flatten())
        self.fc = nn.Sequential(nn.Linear(16 * 16, 64), nn.ReLU(), nn.Linear(64, n_actions))

    def forward(self, x):
        return self.fc(self.conv(x))


class Learner:
    def __init__(self, args):
        self.q, self.target = QNet(2), QNet(2)
        self.target.load_state_dict(self.q.state_dict())
        self.target.requires_grad_(False)
        self.opt = torch.optim.Adam(self.q.parameters(), lr=args.lr)
        self.gamma = args.gamma

    def update(self, batch):
        o, a, r, o2 = batch
        with torch.no_grad():
            y = r + self.gamma * self.target(o2).max(dim=1).values
        loss = F.smooth_l1_loss(self.q(o).gather(1, a.unsqueeze(1)).squeeze(1), y)
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        return loss.item()


def frame(side):
    f = torch.randint(0, 40, (1, 20, 20), dtype=torch.uint8)
    f[:, 5:15, 2 + 10 * side:8 + 10 * side] = 220
    return f


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--gamma", type=float, default=0.9)
    p.add_argument("--updates", type=int, default=40)
    args = p.parse_args()
    torch.manual_seed(0)
    mem, learner = ReplayMemory(300, (1, 20, 20)), Learner(args)
    side = 0
    for _ in range(300):
        a, nxt = torch.randint(0, 2, ()).item(), torch.randint(0, 2, ()).item()
        mem.push(frame(side), a, float(a == side), frame(nxt))
        side = nxt
    for k in range(args.updates):
        loss = learner.update(mem.sample(32))
        if k % 10 == 9:
            learner.target.load_state_dict(learner.q.state_dict())
            print(f"update {k + 1} loss {loss:.4f}")


if __name__ == "__main__":
    main()
