# Node classification on a stochastic block model with a two-layer GCN
import torch
import torch.nn.functional as F

torch.manual_seed(0)

n, k = 90, 3
community = torch.arange(n) % k
same = community[:, None] == community[None, :]
upper = (torch.rand(n, n) < torch.where(same, 0.2, 0.03)).float().triu(1)
A = upper + upper.t() + torch.eye(n)
d = A.sum(1).pow(-0.5)
A_hat = d[:, None] * A * d[None, :]
X = F.one_hot(community, k).float() + torch.randn(n, k)
perm = torch.randperm(n)
train_nodes, test_nodes = perm[:30], perm[30:]


class GCN(torch.nn.Module):
    def __init__(self, nin, nhid, nout, p=0.3):
        super().__init__()
        self.w0 = torch.nn.Parameter(torch.empty(nin, nhid))
        self.w1 = torch.nn.Parameter(torch.empty(nhid, nout))
        torch.nn.init.xavier_uniform_(self.w0)
        torch.nn.init.xavier_uniform_(self.w1)
        self.p = p

    def forward(self, x, adj):
        h = F.relu(adj @ x @ self.w0)
        h = F.dropout(h, self.p, training=self.training)
        logits = adj @ h @ self.w1
        return logits - logits.logsumexp(dim=1, keepdim=True)


model = GCN(k, 16, k)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)

for epoch in range(60):
    model.train()
    optimizer.zero_grad()
    output = torch.exp(model(X, A_hat))  # BUG
    # FIX: output = model(X, A_hat)
    loss_train = F.nll_loss(output[train_nodes], community[train_nodes])  # BUG
    loss_train.backward()
    optimizer.step()
    if epoch % 20 == 0:
        print("Epoch: {:04d} loss_train: {:.4f}".format(epoch, loss_train.item()))

model.eval()
with torch.no_grad():
    output = model(X, A_hat)
    acc = (output.argmax(1) == community)[test_nodes].float().mean()
confidence = output.exp().max(1)[0].mean()
print("test accuracy {:.3f}, mean confidence {:.3f}".format(acc.item(), confidence.item()))
