import torch
import torch.nn.functional as F

torch.manual_seed(0)


def as_rows(t, width):
    return torch.clone(t.view(-1, width)).contiguous()  # BUG
    # FIX: return t.view(-1, width)


# part-of-speech tagging, functional style
V, D, T, N_TAG = 30, 16, 10, 5
params = {
    "emb": torch.randn(V, D) * 0.3,
    "ctx": torch.randn(D, D) * 0.2,
    "out": torch.randn(D, N_TAG) * 0.2,
    "bias": torch.zeros(N_TAG),
}
for p in params.values():
    p.requires_grad_()

tag_of_word = torch.randint(N_TAG, (V,))
tokens = torch.randint(V, (64, T))
tags = tag_of_word[tokens]


def apply(params, ids):
    e = params["emb"][ids]  # (B, T, D)
    left = F.pad(e, (0, 0, 1, 0))[:, :-1]
    h = torch.tanh(e + left @ params["ctx"])
    return h @ params["out"] + params["bias"]


def objective(params, ids, tags):
    logits = apply(params, ids)
    return F.cross_entropy(as_rows(logits, N_TAG), tags.reshape(-1))


lr = 0.5
for step in range(60):
    loss = objective(params, tokens[:48], tags[:48])
    grads = torch.autograd.grad(loss, list(params.values()))
    params = {k: (p - lr * g).detach().requires_grad_() for (k, p), g in zip(params.items(), grads)}
    if step % 20 == 0:
        print(step, loss.item())

with torch.no_grad():
    pred = as_rows(apply(params, tokens[48:]), N_TAG).argmax(1)
    print("held-out accuracy", (pred == tags[48:].reshape(-1)).float().mean().item())
