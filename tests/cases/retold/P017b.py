# Behaviour cloning from camera frames (H, W, 3), flat script
import numpy as np
import torch
import torch.nn as nn

np.random.seed(0)
torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"

# frames of a driving toy: a white lane mark whose column tells the steering angle
N, H, W = 120, 20, 32
frames = np.random.randint(0, 60, size=(N, H, W, 3), dtype=np.uint8)
col = np.random.randint(2, W - 2, size=N)
for k in range(N):
    frames[k, 10:, col[k] - 1:col[k] + 2, :] = 220
steer = (col / W * 2 - 1).astype(np.float32)

policy = nn.Sequential(
    nn.LazyConv2d(16, kernel_size=3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 16, kernel_size=3, stride=2, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.LazyLinear(32),
    nn.ReLU(),
    nn.Linear(32, 1),
    nn.Tanh(),
).to(device)


def to_batch(idx):
    obs = torch.as_tensor(frames[idx], device=device).float().div(255.0)  # BUG
    # FIX: obs = torch.as_tensor(frames[idx], device=device).float().div(255.0).movedim(-1, 1)
    return obs, torch.as_tensor(steer[idx], device=device)[:, None]


policy(to_batch(np.arange(1))[0])  # materialise the lazy layers
optimizer = torch.optim.Adam(policy.parameters(), lr=2e-3)
mse = nn.MSELoss()

train_idx, test_idx = np.arange(100), np.arange(100, N)
policy.train()
for epoch in range(8):
    np.random.shuffle(train_idx)
    for i in range(0, len(train_idx), 20):
        obs, act = to_batch(train_idx[i:i + 20])
        loss = mse(policy(obs), act)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())

policy.eval()
with torch.no_grad():
    obs, act = to_batch(test_idx)
    print("test mse", mse(policy(obs), act).item())
