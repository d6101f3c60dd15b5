"""Transfer a pretrained denoising trunk to a new target, functional style."""
import torch
from torch import nn


def trunk():
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())


def optimise(modules, batches, loss_fn, lr):
    params = [p for m in modules for p in m.parameters()]
    opt = torch.optim.Adam(params, lr=lr)
    for m in modules:
        m.train()
    for batch in batches:
        loss = loss_fn(*batch)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


def pretrain(body, mix):
    decoder = nn.Linear(32, 16)
    clean = [torch.randn(32, 5) @ mix for _ in range(60)]
    noisy = [(c + 0.2 * torch.randn_like(c), c) for c in clean]
    return optimise([body, decoder], noisy, lambda n, c: (decoder(body(n)) - c).pow(2).mean(), 3e-3)


def finetune(body, mix, weights):
    body.requires_grad = False  # BUG
    # FIX: body.requires_grad_(False)
    head = nn.Linear(32, 1)
    codes = [torch.randn(24, 5) for _ in range(60)]
    batches = [(c @ mix, c @ weights) for c in codes]
    value = optimise([body, head], batches, lambda x, y: (head(body(x)) - y).pow(2).mean(), 1e-2)
    return head, value


if __name__ == "__main__":
    torch.manual_seed(0)
    mix, weights = torch.randn(5, 16), torch.randn(5, 1)
    body = trunk()
    print("pretrain", pretrain(body, mix))
    head, value = finetune(body, mix, weights)
    body.eval()
    head.eval()
    with torch.no_grad():
        c = torch.randn(100, 5)
        print("finetune", value, "test", (head(body(c @ mix)) - c @ weights).pow(2).mean().item())
