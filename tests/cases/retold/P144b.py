# functional GPT-ish block in the "from scratch" style, parameters in a dict
import torch
import torch.nn.functional as F

torch.manual_seed(0)
D, V, T = 16, 20, 8


def layer_norm(x, g, b, eps=1e-5):
    var, mu = torch.var_mean(x, -1, keepdim=True)  # BUG
    # FIX: var, mu = torch.var_mean(x, -1, keepdim=True, correction=0)
    return (x - mu) / (var.sqrt() + eps) * g + b  # BUG
    # FIX: return (x - mu) / (var + eps).sqrt() * g + b


def init(*shape):
    return (torch.randn(*shape) / shape[0] ** 0.5).requires_grad_()


P = {
    "wte": (0.1 * torch.randn(V, D)).requires_grad_(),
    "wpe": (0.1 * torch.randn(T, D)).requires_grad_(),
    "qkv": init(D, 3 * D), "proj": init(D, D),
    "fc": init(D, 4 * D), "out": init(4 * D, D),
    "head": init(D, V),
}
for name in ("ln1", "ln2", "lnf"):
    P[name + ".g"] = torch.ones(D, requires_grad=True)
    P[name + ".b"] = torch.zeros(D, requires_grad=True)


def gpt(idx):
    h = P["wte"][idx] + P["wpe"]
    n = layer_norm(h, P["ln1.g"], P["ln1.b"])
    q, k, v = (n @ P["qkv"]).split(D, dim=-1)
    h = h + F.scaled_dot_product_attention(q, k, v, is_causal=True) @ P["proj"]
    n = layer_norm(h, P["ln2.g"], P["ln2.b"])
    h = h + F.gelu(n @ P["fc"]) @ P["out"]
    return layer_norm(h, P["lnf.g"], P["lnf.b"]) @ P["head"]


opt = torch.optim.Adam(P.values(), lr=1e-2)
for step in range(40):
    start = torch.randint(0, V, (32, 1))
    seq = (start + 3 * torch.arange(T + 1)) % V
    x, y = seq[:, :-1], seq[:, 1:]
    loss = F.cross_entropy(gpt(x).reshape(-1, V), y.reshape(-1))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 10 == 0:
        print(step, f"{loss.item():.4f}")
