# regression on tabular data, big batch cut into chunks so that it fits in memory
import torch

torch.manual_seed(0)
n, d = 512, 9
A = torch.randn(n, d)
b = torch.sin(A[:, :1]) + A[:, 1:2] * A[:, 2:3] + 0.05 * torch.randn(n, 1)
net = torch.nn.Sequential(torch.nn.Linear(d, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
solver = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
BIG, PIECES = 128, 8


def update(rows, targets):
    """One step on a big batch, PIECES equal pieces at a time."""
    solver.zero_grad()
    report = 0.0
    for xs, ys in zip(rows.chunk(PIECES), targets.chunk(PIECES)):
        piece_loss = torch.nn.functional.mse_loss(net(xs), ys)
        torch.autograd.backward(piece_loss)  # BUG
        # FIX: torch.autograd.backward(piece_loss / PIECES)
        report += piece_loss.item() / PIECES
    solver.step()
    return report


for epoch in range(6):
    net.train()
    order = torch.randperm(n)
    for start in range(0, n, BIG):
        take = order[start:start + BIG]
        value = update(A[take], b[take])
    print("epoch", epoch, "mse %.4f" % value)
net.eval()
with torch.inference_mode():
    print("fit", torch.nn.functional.mse_loss(net(A), b).item())
