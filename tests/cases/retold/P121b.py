"""Minimal strategy/module split: policy-gradient cart on a line."""
import os
import socket

import torch
import torch.distributed as dist
from torch import nn


def free_tcp_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class DDPStrategy:
    init_method = "tcp://127.0.0.1:29555"  # BUG
    # FIX: init_method = "env://"

    def setup(self) -> None:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(free_tcp_port()))
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        dist.init_process_group("gloo", init_method=self.init_method, rank=rank, world_size=world)

    def wrap(self, module: nn.Module) -> nn.Module:
        return nn.parallel.DistributedDataParallel(module)

    def teardown(self) -> None:
        dist.destroy_process_group()


class CartModule:
    def __init__(self) -> None:
        self.policy = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))

    def configure_optimizers(self, params):
        return torch.optim.Adam(params, lr=1e-2)

    def training_step(self, policy: nn.Module, n_env: int = 32) -> torch.Tensor:
        pos, vel = torch.randn(n_env), torch.zeros(n_env)
        obs, acts, rewards = [], [], []
        for _ in range(10):
            o = torch.stack([pos, vel], dim=1)
            with torch.no_grad():
                a = torch.distributions.Categorical(logits=self.policy(o)).sample()
            vel = 0.8 * vel + 0.2 * (2.0 * a - 1.0)
            pos = pos + vel
            obs.append(o), acts.append(a), rewards.append(-pos.abs())
        togo = torch.stack(rewards).flip(0).cumsum(0).flip(0)
        adv = (togo - togo.mean(1, keepdim=True)) / (togo.std(1, keepdim=True) + 1e-6)
        logits = policy(torch.stack(obs).flatten(0, 1))
        logp = torch.distributions.Categorical(logits=logits).log_prob(torch.stack(acts).flatten())
        return -(logp * adv.flatten()).mean()


def fit(module: CartModule, strategy: DDPStrategy, steps: int) -> None:
    strategy.setup()
    policy = strategy.wrap(module.policy)
    opt = module.configure_optimizers(policy.parameters())
    torch.manual_seed(10 + dist.get_rank())
    policy.train()
    for step in range(steps):
        loss = module.training_step(policy)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 5 == 0 and dist.get_rank() == 0:
            print(f"step {step} surrogate {loss.item():.4f}")
    strategy.teardown()


if __name__ == "__main__":
    torch.manual_seed(0)
    fit(CartModule(), DDPStrategy(), steps=15)
