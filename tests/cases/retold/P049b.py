# click-through model, functional style: parameters in a dict, hand-written loss
import torch

torch.manual_seed(0)
N, FIELDS, CARD, K = 400, 4, 12, 6
ids = torch.randint(0, CARD, (N, FIELDS))
true_w = torch.randn(FIELDS, CARD)
clicks = (true_w[torch.arange(FIELDS), ids].sum(1) * 4 + 0.3 * torch.randn(N) > 0).float()

params = {
    "bias": torch.zeros((), requires_grad=True),
    "linear": torch.zeros(FIELDS, CARD, requires_grad=True),
    "factors": (1.5 * torch.randn(FIELDS, CARD, K)).requires_grad_(),
}


def fm(p, rows):
    field = torch.arange(FIELDS)
    first = p["linear"][field, rows].sum(1)
    v = p["factors"][field, rows]
    pair = 0.5 * (v.sum(1) ** 2 - (v ** 2).sum(1)).sum(1)
    return p["bias"] + first + pair


def log_loss(score, label):
    prob = 1 / (1 + torch.exp(-score))  # BUG
    # FIX: log_p, log_q = torch.nn.functional.logsigmoid(score), torch.nn.functional.logsigmoid(-score)
    return -(label * torch.log(prob) + (1 - label) * torch.log(1 - prob)).mean()  # BUG
    # FIX: return -(label * log_p + (1 - label) * log_q).mean()


lr = 0.05
for epoch in range(30):
    for rows in torch.randperm(N).split(100):
        loss = log_loss(fm(params, ids[rows]), clicks[rows])
        grads = torch.autograd.grad(loss, list(params.values()))
        with torch.no_grad():
            for w, g in zip(params.values(), grads):
                w -= lr * g
    print("epoch", epoch, "log loss", loss.item())

with torch.no_grad():
    print("accuracy", ((fm(params, ids) > 0) == clicks.bool()).float().mean().item())
