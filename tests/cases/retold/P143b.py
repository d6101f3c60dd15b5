# a registered operator inside a mixed-precision autoencoder
import torch
import torch.nn as nn
from torch import Tensor

device = "cuda" if torch.cuda.is_available() else "cpu"


@torch.library.custom_op("blocks::buffered_linear", mutates_args=())  # BUG
def buffered_linear(x: Tensor, w: Tensor) -> Tensor:
    y = x.new_empty(x.shape[0], w.shape[0])
    torch.mm(x, w.t(), out=y)
    return y


@buffered_linear.register_fake
def _(x, w):
    return x.new_empty(x.shape[0], w.shape[0])


def save_inputs(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def buffered_linear_grad(ctx, g):
    x, w = ctx.saved_tensors
    return g @ w, g.t() @ x


buffered_linear.register_autograd(buffered_linear_grad, setup_context=save_inputs)
# FIX+: buffered_linear.register_autocast(device, torch.bfloat16)


class Layer(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(n_out, n_in) / n_in ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return buffered_linear(x, self.w)


torch.manual_seed(0)
basis = torch.randn(3, 24)
data = (torch.randn(256, 3) @ basis).to(device)
enc = nn.Sequential(Layer(24, 16), nn.Tanh(), Layer(16, 3))
dec = nn.Sequential(Layer(3, 16), nn.Tanh(), Layer(16, 24))
net = nn.Sequential(enc, dec).to(device)
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
net.train()
for step in range(60):
    xb = data[torch.randint(0, len(data), (64,), device=device)]
    opt.zero_grad()
    with torch.autocast(device, dtype=torch.bfloat16):
        rec = net(xb)
        loss = nn.functional.mse_loss(rec.float(), xb)
    loss.backward()
    opt.step()
    if step % 20 == 0:
        print(step, rec.dtype, loss.item())
