# Gradient boosting of linear stumps by hand in NumPy
import numpy as np

rng = np.random.default_rng(7)
n = 120
X = rng.normal(size=(n, 4))
y = np.where(X[:, [0]] > 0, 2.0, -1.0) + 0.5 * X[:, [1]] + 0.1 * rng.normal(size=(n, 1))  # (n, 1)
X_val, y_val = X[90:], y[90:]
X, y = X[:90], y[:90]


def fit_stump(X, r):
    """Best axis-aligned split of the residual r, shape (n,)."""
    best = None
    for j in range(X.shape[1]):
        for thr in np.quantile(X[:, j], [0.2, 0.4, 0.5, 0.6, 0.8]):
            left = X[:, j] <= thr
            lv, rv = r[left].mean(), r[~left].mean()
            sse = ((r - np.where(left, lv, rv)) ** 2).sum()
            if best is None or sse < best[0]:
                best = (sse, j, thr, lv, rv)
    return best[1:]


def predict_stump(stump, X):
    j, thr, lv, rv = stump
    return np.where(X[:, j] <= thr, lv, rv)


base = y.mean()
ensemble, shrinkage = [], 0.3
F_train = np.full(len(X), base)

for m in range(15):
    residual = y - F_train  # BUG
    # FIX: residual = y.ravel() - F_train
    stump = fit_stump(X, residual)
    ensemble.append(stump)
    F_train = F_train + shrinkage * predict_stump(stump, X)
    print(m, "train residual %.4f" % np.mean(residual ** 2))

F_val = base + shrinkage * sum(predict_stump(s, X_val) for s in ensemble)
print("val mse", np.mean((y_val[:, 0] - F_val) ** 2))
