"""Train the neural matrix factorisation (GMF and NeuMF) on invented ratings and score items with it.

fix: d77db550
depth: live 60
expects: -
where: program
stands in: the package's compiled functions
"""

import numpy as np
from stand_ins import HERE, package, stand_in

if not hasattr(np, "Inf"):
    np.Inf = np.inf
for name in ("cornac", "cornac.models", "cornac.data"):
    package(name, HERE / name.replace(".", "/"))
stand_in("cornac.utils.fast_dot")
stand_in("cornac.utils.fast_sparse_funcs")
package("cornac.utils").__path__ = [str(HERE / "cornac/utils")]
from cornac.utils import common

for name in ("validate_format", "estimate_batches", "get_rng"):
    setattr(package("cornac.utils"), name, getattr(common, name))
from cornac.data.dataset import Dataset
from cornac.models.ncf import GMF, NeuMF

rng = np.random.RandomState(0)
users, items = rng.randint(0, 40, 700), rng.randint(0, 60, 700)
ratings = [(f"u{user}", f"i{item}", float(rng.randint(1, 6))) for user, item in sorted(set(zip(users, items)))]
train_set = Dataset.from_uir(ratings, seed=0)
for model in (
    GMF(num_factors=8, num_epochs=3, batch_size=64, num_neg=3, backend="pytorch", seed=0),
    NeuMF(num_factors=8, layers=[32, 16, 8], num_epochs=3, batch_size=64, num_neg=3, backend="pytorch", seed=0),
):
    model.fit(train_set)
    print(np.argsort(-model.score(0))[:5])
