"""Scripts with every operation's phase, module and line written by hand.

A script starts at line 1 and is run with ``device`` set. Views, which move nothing, are left out of ``EXPECTED``; every
other operation of step 1 is in it, in order: ``phase  operation  module  line``; ``-`` stands for no module.
"""

PLAIN = """\
import torch
from torch import nn
from torch.nn import functional as F
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(device)
x = torch.randn(5, 4, device=device)
y = torch.zeros(5, dtype=torch.long, device=device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
loss = F.cross_entropy(model(x), y)
loss.backward()
optimizer.step()
"""
PLAIN_EXPECTED = """
forward    addmm                      0  8
forward    relu                       1  8
forward    addmm                      2  8
loss       _log_softmax               -  8
loss       nll_loss_forward           -  8
loss       ones_like                  -  9
backward   nll_loss_backward          -  8
backward   _log_softmax_backward_data -  8
backward   mm                         2  8
backward   mm                         2  8
backward   sum.dim_IntList            2  8
backward   threshold_backward         1  8
backward   mm                         0  8
backward   sum.dim_IntList            0  8
optimizer  add_.Tensor                - 10
optimizer  add_.Tensor                - 10
optimizer  add_.Tensor                - 10
optimizer  add_.Tensor                - 10
"""

CHECKPOINT = """\
import torch
from torch.utils.checkpoint import checkpoint
class Block(torch.nn.Module):
    def __init__(self): super().__init__(); self.fc = torch.nn.Linear(4, 4, bias=False)
    def body(self, x): return (x.exp() @ self.fc(x)
        .tanh())
    def forward(self, x): return checkpoint(self.body, x, use_reentrant=REENTRANT)
net = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False), Block()).to(device)
out = net(torch.randn(4, 4, device=device))
out.sum().backward()
"""
CHECKPOINT_EXPECTED = """
forward    mm                 0     9
forward    exp                1     5
forward    mm                 1.fc  5
forward    tanh               1     6
forward    mm                 1     5
loss       sum                -    10
loss       ones_like          -    10
recompute  exp                1     5
recompute  mm                 1.fc  5
recompute  tanh               1     6
recompute  mm                 1     5
backward   mm                 1     5
backward   mm                 1     5
backward   tanh_backward      1     6
backward   mm                 1.fc  5
backward   mm                 1.fc  5
backward   mul.Tensor         1     5
backward   add.Tensor         1     5
backward   mm                 0     9
"""

FUNCTION = """\
import torch
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, grad):
        return grad * 3
w = torch.ones(3, device=device, requires_grad=True)
Double.apply(w.exp()).sum().backward()
"""
FUNCTION_EXPECTED = """
forward    exp         - 10
forward    mul.Tensor  -  5
forward    sum         - 10
forward    ones_like   - 10
backward   mul.Tensor  -  8
backward   mul.Tensor  - 10
"""

DOUBLE_BACKWARD = """\
import torch
net = torch.nn.Linear(3, 1, bias=False).to(device)
x = torch.randn(5, 3, device=device, requires_grad=True)
y = net(x)
z = y.exp()
(slope,) = torch.autograd.grad(z.sum(), x, create_graph=True)
penalty = slope.tanh()
total = penalty.sum()
total.backward()
"""
DOUBLE_BACKWARD_EXPECTED = """
forward    mm             Linear 4
loss       exp            -      5
loss       sum            -      6
loss       ones_like      -      6
backward   mul.Tensor     -      5
backward   mm             Linear 4
loss       tanh           -      7
loss       sum            -      8
loss       ones_like      -      9
backward   tanh_backward  -      7
backward   mm             Linear 4
backward   mm             Linear 4
backward   mul.Tensor     -      5
backward   mul.Tensor     -      5
backward   mm             Linear 4
backward   mm             Linear 4
backward   add.Tensor     Linear 4
"""

HOOKS = """\
import torch
net = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.ReLU()).to(device)
net[0].weight.register_hook(lambda g: g * 2)
net[1].register_forward_hook(lambda m, args, out: out.exp())
net[0].register_full_backward_hook(lambda m, inputs, outputs: (inputs[0] - 1,))
x = torch.randn(2, 3, device=device, requires_grad=True)
y = net(x)
y.register_hook(lambda g: g.neg())
y.sum().backward()
"""
HOOKS_EXPECTED = """
forward    mm                  0  7
forward    relu                1  7
forward    exp                 1  4
loss       sum                 -  9
loss       ones_like           -  9
backward   neg                 1  8
backward   mul.Tensor          1  4
backward   threshold_backward  1  7
backward   mm                  0  7
backward   mm                  0  7
backward   mul.Tensor          0  3
backward   sub.Tensor          0  5
"""

IN_PLACE = """\
import torch
from torch import nn
net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(inplace=True)).to(device)
x = torch.randn(2, 3, device=device)
y = net(x) * 3
y.mul_(2)
y[0].add_(1)
y += x
loss = y.sigmoid_().sum()
loss.backward()
"""
IN_PLACE_EXPECTED = """
forward    mm                  0  5
forward    relu_               1  5
loss       mul.Tensor          -  5
loss       mul_.Tensor         -  6
loss       add_.Tensor         -  7
loss       add_.Tensor         -  8
loss       sigmoid_            -  9
loss       sum                 -  9
loss       ones_like           - 10
backward   sigmoid_backward    -  9
backward   new_empty_strided   -  7
backward   copy_               -  7
backward   clone               -  7
backward   copy_               -  7
backward   mul.Tensor          -  6
backward   mul.Tensor          -  5
backward   threshold_backward  1  5
backward   mm                  0  5
"""

SCRIPTS = {
    "plain": (PLAIN, PLAIN_EXPECTED),
    "reentrant": (CHECKPOINT.replace("REENTRANT", "True"), CHECKPOINT_EXPECTED),
    # The last product of the block is not computed again: nothing of its result is needed.
    "non-reentrant": (
        CHECKPOINT.replace("REENTRANT", "False"),
        CHECKPOINT_EXPECTED.replace("recompute  mm                 1     5\n", ""),
    ),
    "function": (FUNCTION, FUNCTION_EXPECTED),
    "double-backward": (DOUBLE_BACKWARD, DOUBLE_BACKWARD_EXPECTED),
    "hooks": (HOOKS, HOOKS_EXPECTED),
    "in-place": (IN_PLACE, IN_PLACE_EXPECTED),
}
