import numpy as np
import torch

torch.manual_seed(0)
np.random.seed(0)

# toy 3-intent text classification with bag-of-words
vocab, n_class = 50, 3
labels = np.random.randint(0, n_class, size=150)
counts = np.random.poisson(0.3, size=(150, vocab)).astype(np.float32)
for c in range(n_class):
    counts[labels == c, c * 5:(c + 1) * 5] += np.random.poisson(1.0, size=((labels == c).sum(), 5))

x = torch.as_tensor(counts)
y = torch.as_tensor(labels)
x_train, y_train, x_test, y_test = x[:100], y[:100], x[100:], y[100:]

clf = torch.nn.Linear(vocab, n_class)
opt = torch.optim.SGD(clf.parameters(), lr=0.1)

for it in range(100):
    opt.zero_grad()
    loss = torch.nn.functional.cross_entropy(clf(x_train), y_train)
    loss.backward()
    opt.step()

clf.eval()
with torch.no_grad():
    scores, y_pred = clf(x_test).topk(1, dim=-1)

y_true = y_test.numpy()
y_pred = y_pred.numpy()
n_right = np.sum(y_pred == y_true)  # BUG
# FIX: n_right = np.sum(y_pred[:, 0] == y_true)
print("train loss %.4f" % loss.item())
print("right answers: %d of %d" % (n_right, len(y_true)))
print("accuracy: %.3f" % (n_right / len(y_true)))
