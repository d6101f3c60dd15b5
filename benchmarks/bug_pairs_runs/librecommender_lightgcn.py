"""Fit the library's LightGCN on implicit feedback, and recommend items to some users.

fix: 47ecabd1
depth: live 60
expects: -
where: program
stands in: the library's parts for tensorflow, pandas and gensim (only imported), the class that describes the data
"""

from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
from stand_ins import HERE, package, stand_in

for name in ("pandas", "gensim", "gensim.models"):
    stand_in(name, __spec__=ModuleSpec(name, None))
for name in ("libreco", "libreco.algorithms", "libreco.data"):
    package(name, HERE / name.replace(".", "/"))
for name in ("libreco.tfops", "libreco.tfops.features", "libreco.layers"):
    stand_in(name)
from libreco.data.consumed import interaction_consumed
from libreco.data.transformed import TransformedEvalSet, TransformedSet

package("libreco.data").TransformedEvalSet = TransformedEvalSet
from libreco.algorithms.lightgcn import LightGCN

rng = np.random.RandomState(3)
n_users, n_items = 60, 40
users, items = [], []
for user in range(n_users):
    for item in rng.choice(n_items, rng.randint(4, 12), replace=False):
        users.append(user)
        items.append((item // 4 + user) % n_items)
items[:n_items] = range(n_items)
users, items = np.array(users), np.array(items)
train_data = TransformedSet(users, items, np.ones(len(users), np.float32))
user_consumed, item_consumed = interaction_consumed(users, items)
nothing = SimpleNamespace(name=[], index=[])
data_info = SimpleNamespace(
    n_users=n_users, n_items=n_items, user_consumed=user_consumed, item_consumed=item_consumed, sparse_col=nothing,
    dense_col=nothing, user_sparse_col=nothing, item_sparse_col=nothing, user_dense_col=nothing, item_dense_col=nothing,
    item_sparse_unique=None, item_dense_unique=None, user2id={f"user {i}": i for i in range(n_users)},
    id2user={i: f"user {i}" for i in range(n_users)}, id2item={i: f"item {i}" for i in range(n_items)},
)  # fmt: skip
lightgcn = LightGCN(
    "ranking", data_info, loss_type="bpr", embed_size=16, n_epochs=4, lr=1e-2, batch_size=64, num_neg=1, device="cpu"
)
lightgcn.fit(train_data, neg_sampling=True, verbose=1, shuffle=True)
print(lightgcn.recommend_user(user=["user 3", "user 25"], n_rec=5))
