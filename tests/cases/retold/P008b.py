import torch
import torch.nn.functional as F

torch.manual_seed(0)

# importance-weighted policy gradient, 10 rollouts x 10 time steps
n_rollouts, horizon, obs_dim, n_actions = 10, 10, 4, 3
policy = torch.nn.Sequential(torch.nn.Linear(obs_dim, 24), torch.nn.Tanh(), torch.nn.Linear(24, n_actions))
opt = torch.optim.Adam(policy.parameters(), lr=1e-2)
gamma = 0.9


def rollout():
    obs, acts, rews = [], [], []
    s = torch.randn(n_rollouts, obs_dim)
    for _ in range(horizon):
        with torch.no_grad():
            a = torch.distributions.Categorical(logits=policy(s)).sample()
        obs.append(s)
        acts.append(a)
        rews.append(s.gather(1, a[:, None]).squeeze(1))
        s = 0.8 * s + 0.5 * torch.randn_like(s)
    return torch.stack(obs, 1), torch.stack(acts, 1), torch.stack(rews, 1)


def returns_to_go(r):
    g, out = torch.zeros(r.size(0)), []
    for t in reversed(range(r.size(1))):
        g = r[:, t] + gamma * g
        out.append(g)
    return torch.stack(out[::-1], dim=1)


policy.train()
for it in range(20):
    obs, acts, rews = rollout()
    g = returns_to_go(rews)
    adv = g - g.mean(dim=0, keepdim=True)
    # rollouts with high total reward are trusted more
    rollout_w = F.softmax(rews.sum(dim=1), dim=0) * n_rollouts
    logp = torch.distributions.Categorical(logits=policy(obs)).log_prob(acts)
    loss = -torch.einsum("bt,t->bt", logp * adv, rollout_w).mean()  # BUG
    # FIX: loss = -torch.einsum("bt,b->bt", logp * adv, rollout_w).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 5 == 0:
        print(it, "loss %.4f return %.3f" % (loss.item(), rews.sum(1).mean().item()))
