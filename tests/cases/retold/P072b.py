"""Actor-critic style policy on a toy bandit; the greedy policy is tested every few updates."""
import torch
import torch.nn as nn
from torch.distributions import Categorical

torch.manual_seed(0)
N_CTX, N_ARMS = 6, 4
TRUE = torch.randn(N_CTX, N_ARMS)

policy = nn.Sequential(nn.Linear(N_CTX, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, N_ARMS))
critic = nn.Sequential(nn.Linear(N_CTX, 32), nn.Tanh(), nn.Linear(32, 1))
opt = torch.optim.Adam([*policy.parameters(), *critic.parameters()], lr=5e-3)


def reward(ctx, arm):
    return (ctx @ TRUE).gather(1, arm[:, None]).squeeze(1)


def greedy_return(n=256):
    ctx = torch.randn(n, N_CTX)
    with torch.no_grad():
        arm = policy.eval()(ctx).argmax(dim=-1)  # BUG
    return reward(ctx, arm).mean().item()


def main(updates=20, batch=64):
    policy.train()
    critic.train()
    for k in range(updates):
        # FIX+: policy.train()
        ctx = torch.randn(batch, N_CTX)
        dist = Categorical(logits=policy(ctx))
        arm = dist.sample()
        r = reward(ctx, arm)
        value = critic(ctx).squeeze(-1)
        advantage = (r - value).detach()
        pg = -(dist.log_prob(arm) * advantage).mean()
        vf = 0.5 * (value - r).pow(2).mean()
        opt.zero_grad()
        (pg + vf - 0.01 * dist.entropy().mean()).backward()
        opt.step()
        if k % 5 == 4:
            print(f"update {k + 1}: value loss {vf.item():.3f} greedy return {greedy_return():.3f}")


main()
