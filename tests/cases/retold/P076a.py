"""Graph-level regression with a hand-written message passing network."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F


def make_norm_act(dim, p):
    return nn.Sequential(nn.BatchNorm1d(dim), nn.ReLU(), nn.Dropout(p))


class MessagePassing(nn.Module):
    def __init__(self, dim_in, dim_out, p):
        super().__init__()
        self.dim_out, self.p = dim_out, p
        self.lin_self = nn.Linear(dim_in, dim_out)
        self.lin_nbr = nn.Linear(dim_in, dim_out, bias=False)
        # FIX+: self.post = make_norm_act(dim_out, p)

    def forward(self, x, adj):
        h = self.lin_self(x) + adj @ self.lin_nbr(x)
        b, n, d = h.shape
        h = make_norm_act(self.dim_out, self.p)(h.reshape(b * n, d))  # BUG
        # FIX: h = self.post(h.reshape(b * n, d))
        return h.view(b, n, d)


class GraphNet(nn.Module):
    def __init__(self, dim_in, hidden, depth, p):
        super().__init__()
        dims = [dim_in] + [hidden] * depth
        self.layers = nn.ModuleList(MessagePassing(i, o, p) for i, o in zip(dims[:-1], dims[1:]))
        self.readout = nn.Linear(hidden, 1)

    def forward(self, x, adj):
        for layer in self.layers:
            x = layer(x, adj)
        return self.readout(x.mean(dim=1)).squeeze(-1)


def random_graphs(n, nodes=8, dim=6):
    x = torch.randn(n, nodes, dim)
    adj = (torch.rand(n, nodes, nodes) < 0.3).float()
    adj = ((adj + adj.transpose(1, 2)) > 0).float()
    adj = adj / adj.sum(-1, keepdim=True).clamp(min=1)
    return x, adj, (adj @ x)[..., 0].mean(1)


class Experiment:
    def __init__(self, args):
        self.net = GraphNet(6, args.hidden, args.depth, args.dropout)
        self.opt = torch.optim.Adam(self.net.parameters(), lr=args.lr)
        self.steps = args.steps

    def train(self):
        self.net.train()
        for step in range(self.steps):
            x, adj, y = random_graphs(32)
            loss = F.mse_loss(self.net(x, adj), y)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        return loss.item()

    @torch.no_grad()
    def test(self):
        self.net.eval()
        x, adj, y = random_graphs(128)
        return F.l1_loss(self.net(x, adj), y).item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    torch.manual_seed(0)
    exp = Experiment(args)
    print("train mse", exp.train(), "test mae", exp.test())
