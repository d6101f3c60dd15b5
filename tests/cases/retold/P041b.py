# policy gradient on a contextual bandit with a KL pull towards a reference policy
import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional as F

torch.manual_seed(2)
N_ACT, N_CTX, BETA = 5, 8, 0.2
payoff = torch.rand(N_CTX, N_ACT)


def policy():
    return nn.Sequential(nn.Linear(N_CTX, 32), nn.Tanh(), nn.Linear(32, N_ACT))


actor, ref = policy(), policy()
ref.load_state_dict(actor.state_dict())
for w in ref.parameters():
    w.requires_grad_(False)
ref.eval()


def kl_to_reference(logits, ref_logits):
    pi = logits.softmax(-1)  # BUG
    # FIX: pi = logits.log_softmax(-1)
    pi_ref = ref_logits.softmax(-1)
    return F.kl_div(pi, pi_ref, reduction="mean")  # BUG
    # FIX: return F.kl_div(pi, pi_ref, reduction="batchmean")


optim = torch.optim.Adam(actor.parameters(), lr=3e-3)
baseline = 0.0
for it in range(80):
    actor.train()
    ctx = torch.randint(N_CTX, (64,))
    obs = F.one_hot(ctx, N_CTX).float()
    logits = actor(obs)
    dist = Categorical(logits=logits)
    act = dist.sample()
    reward = payoff[ctx, act] + 0.05 * torch.randn(64)
    adv = (reward - baseline).detach()
    baseline = 0.9 * baseline + 0.1 * reward.mean().item()
    pg = -(dist.log_prob(act) * adv).mean()
    with torch.no_grad():
        ref_logits = ref(obs)
    penalty = kl_to_reference(logits, ref_logits)
    loss = pg + BETA * penalty
    optim.zero_grad()
    loss.backward()
    optim.step()
    if it % 20 == 19:
        print(f"{it + 1:3d} reward {reward.mean().item():.3f} penalty {penalty.item():.4f}")
