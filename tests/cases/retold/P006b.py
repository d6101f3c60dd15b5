# Hopfield network, storing a few random patterns
import numpy as np

np.random.seed(42)
N = 64
n_patterns = 4

patterns = [np.random.choice([-1.0, 1.0], size=N) for _ in range(n_patterns)]

# Hebbian learning
W = np.zeros((N, N))
for p in patterns:
    W = W + np.matmul(p, np.transpose(p)) / N  # BUG
    # FIX: W = W + np.matmul(p[:, None], p[None, :]) / N
np.fill_diagonal(W, 0)


def energy(s):
    return -0.5 * s @ W @ s


def recall(s, sweeps=5):
    s = s.copy()
    for _ in range(sweeps):
        for i in np.random.permutation(N):
            s[i] = 1.0 if W[i] @ s >= 0 else -1.0
    return s


for k, p in enumerate(patterns):
    noisy = p.copy()
    flip = np.random.choice(N, size=8, replace=False)
    noisy[flip] *= -1
    out = recall(noisy)
    print("pattern", k, "overlap before %.2f after %.2f energy %.2f"
          % (noisy @ p / N, out @ p / N, energy(out)))
