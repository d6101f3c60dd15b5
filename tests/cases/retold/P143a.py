import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class LinearReLUFn(torch.autograd.Function):
    """Fused linear + ReLU that writes into one buffer and keeps only the mask."""

    @staticmethod  # BUG
    # FIX: @staticmethod
    # FIX: @torch.amp.custom_fwd(device_type=DEVICE, cast_inputs=torch.bfloat16)
    def forward(ctx, x, weight, bias):
        out = x.new_empty(x.shape[0], weight.shape[0])
        torch.addmm(bias, x, weight.t(), out=out)  # BUG
        out.relu_()
        ctx.save_for_backward(x, weight, out > 0)
        return out

    @staticmethod  # BUG
    # FIX: @staticmethod
    # FIX: @torch.amp.custom_bwd(device_type=DEVICE)
    def backward(ctx, grad_out):
        x, weight, active = ctx.saved_tensors
        grad = grad_out * active
        return grad @ weight, grad.t() @ x, grad.sum(0)


class LinearReLU(nn.Linear):
    def forward(self, x):
        return LinearReLUFn.apply(x, self.weight, self.bias)


class Net(nn.Module):
    def __init__(self, n_in, hidden, depth, n_out):
        super().__init__()
        dims = [n_in] + [hidden] * depth
        self.body = nn.Sequential(*(LinearReLU(a, b) for a, b in zip(dims[:-1], dims[1:])))
        self.head = nn.Linear(hidden, n_out)

    def forward(self, x):
        return self.head(self.body(x))


class Trainer:
    def __init__(self, args):
        self.args = args
        x = torch.randn(256, 16)
        y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
        self.loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
        self.model = Net(16, args.hidden, args.depth, 4).to(DEVICE)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=args.lr)

    def fit(self):
        for epoch in range(self.args.epochs):
            self.model.train()
            for x, y in self.loader:
                x, y = x.to(DEVICE), y.to(DEVICE)
                self.opt.zero_grad()
                with torch.autocast(DEVICE, dtype=torch.bfloat16):
                    loss = nn.functional.cross_entropy(self.model(x), y)
                loss.backward()
                self.opt.step()
            print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    Trainer(args).fit()
