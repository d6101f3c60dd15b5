"""DQN on a toy pixel environment."""
import random
from collections import deque, namedtuple
import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

Transition = namedtuple("Transition", "obs action reward next_obs done")


class CatchEnv:
    """Last four RGB-less frames stacked on the last axis, like gym's FrameStack + WarpFrame."""

    def __init__(self, size=40, n_stack=4, seed=0):
        self.observation_shape = (size, size, n_stack)
        self.n_actions = 3
        self.rng = np.random.default_rng(seed)

    def _obs(self):
        frames = np.zeros(self.observation_shape, dtype=np.uint8)
        for k in range(self.observation_shape[-1]):
            row = max(self.t - k, 0) * 4 % self.observation_shape[0]
            frames[row:row + 4, self.col:self.col + 4, k] = 255
        return frames

    def reset(self):
        self.t, self.col = 0, int(self.rng.integers(0, 36))
        return self._obs()

    def step(self, a):
        self.t += 1
        reward = float(a == self.col * 3 // 36 % 3)
        return self._obs(), reward, self.t >= 9


class QNetwork(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        in_ch = obs_shape[0]  # BUG
        # FIX: in_ch = obs_shape[-1]
        self.conv = nn.Sequential(
            nn.Conv2d(in_ch, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d((4, 4)),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, n_actions))

    def forward(self, obs):
        x = obs.float() / 255.0  # BUG
        # FIX: x = obs.permute(0, 3, 1, 2).float() / 255.0
        return self.head(self.conv(x))


class ReplayBuffer:
    def __init__(self, capacity):
        self.data = deque(maxlen=capacity)

    def push(self, *args):
        self.data.append(Transition(*args))

    def sample(self, n):
        batch = Transition(*zip(*random.sample(self.data, n)))
        return (torch.from_numpy(np.stack(batch.obs)), torch.tensor(batch.action),
                torch.tensor(batch.reward), torch.from_numpy(np.stack(batch.next_obs)),
                torch.tensor(batch.done, dtype=torch.float32))


def main():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    env = CatchEnv()
    q = QNetwork(env.observation_shape, env.n_actions)
    target = copy.deepcopy(q).eval().requires_grad_(False)
    opt = torch.optim.Adam(q.parameters(), lr=5e-4)
    buf, gamma, eps = ReplayBuffer(500), 0.9, 0.3
    obs = env.reset()
    for step in range(80):
        if random.random() < eps:
            action = random.randrange(env.n_actions)
        else:
            with torch.no_grad():
                action = q(torch.from_numpy(obs)[None]).argmax(1).item()
        nxt, reward, done = env.step(action)
        buf.push(obs, action, reward, nxt, done)
        obs = env.reset() if done else nxt
        if len(buf.data) < 32:
            continue
        o, a, r, o2, d = buf.sample(16)
        with torch.no_grad():
            y = r + gamma * (1 - d) * target(o2).max(1).values
        qa = q(o).gather(1, a[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(qa, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 20 == 0:
            target.load_state_dict(q.state_dict())
            print(f"step {step} td-loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
