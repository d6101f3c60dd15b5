"""Fabric-like launcher for a bandit policy."""
from __future__ import annotations

import os
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass
class Env:
    vars: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def get(self, key: str, default: str) -> str:
        return self.vars.get(key, default)


class Runner:
    def __init__(self, env: Env) -> None:
        self.world_size = int(env.get("WORLD_SIZE", "1"))
        self.local_rank = env.get("LOCAL_RANK", "0")  # BUG
        # FIX: self.local_rank = int(env.get("LOCAL_RANK", "0"))
        self.cuda = torch.cuda.is_available()
        self.history: list[float] = []

    def __enter__(self) -> "Runner":
        defaults = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29642"}
        for k, v in defaults.items():
            os.environ.setdefault(k, v)
        if self.cuda:
            torch.cuda.set_device(self.local_rank)
        dist.init_process_group("nccl" if self.cuda else "gloo")
        return self

    def __exit__(self, *exc: object) -> None:
        dist.destroy_process_group()

    @property
    def is_main(self) -> bool:
        return not self.local_rank  # BUG

    def log(self, value: Tensor) -> None:
        mean = value.detach().clone()
        dist.all_reduce(mean)
        mean /= self.world_size
        if self.is_main:
            self.history.append(mean.item())
            print(f"reward {mean.item():.3f}")


def pull(arms: Tensor, true_means: Tensor) -> Tensor:
    return true_means[arms] + 0.1 * torch.randn(arms.shape)


def main() -> None:
    with Runner(Env()) as runner:
        torch.manual_seed(2)
        true_means = torch.tensor([0.1, 0.5, 0.9, 0.3])
        policy = nn.Linear(1, 4, bias=False)
        agent = nn.parallel.DistributedDataParallel(policy.to("cuda" if runner.cuda else "cpu"))
        opt = torch.optim.Adam(agent.parameters(), lr=0.1)
        torch.manual_seed(100 + dist.get_rank())
        agent.train()
        for _ in range(20):
            state = torch.ones(64, 1, device=policy.weight.device)
            pi = torch.distributions.Categorical(logits=agent(state))
            arms = pi.sample()
            reward = pull(arms.cpu(), true_means).to(arms.device)
            advantage = reward - reward.mean()
            loss = -(pi.log_prob(arms) * advantage).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            runner.log(reward.mean())


if __name__ == "__main__":
    main()
