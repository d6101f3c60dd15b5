"""Fit the factorization model on implicit feedback, and rank a test set with it.

fix: eb1ce5b9
depth: live 60
expects: -
where: program
stands in: PyTorch's old losses of one element and its old sums that keep their axis
"""

import numpy as np
from spotlight.cross_validation import random_train_test_split
from spotlight.evaluation import mrr_score
from spotlight.factorization import implicit
from spotlight.factorization.implicit import ImplicitFactorizationModel
from spotlight.factorization.representations import BilinearNet
from spotlight.interactions import Interactions


class Net(BilinearNet):
    def forward(self, user_ids, item_ids):
        user = self.user_embeddings(user_ids).view(-1, self.embedding_dim)
        item = self.item_embeddings(item_ids).view(-1, self.embedding_dim)
        biases = self.user_biases(user_ids).view(-1, 1) + self.item_biases(item_ids).view(-1, 1)
        return (user * item).sum(1, keepdim=True) + biases


def bpr_loss(*args):
    return old_bpr_loss(*args).reshape(1)


old_bpr_loss, implicit.bpr_loss, implicit.BilinearNet = implicit.bpr_loss, bpr_loss, Net

random_state = np.random.RandomState(42)
tastes = random_state.randint(0, 4, 60)
users = random_state.randint(0, 60, 1500).astype(np.int32)
items = (tastes[users] * 20 + random_state.geometric(0.1, 1500) % 20).astype(np.int32)
train, test = random_train_test_split(Interactions(users, items, num_users=60, num_items=80), random_state=random_state)
model = ImplicitFactorizationModel(
    loss="bpr", embedding_dim=16, n_iter=5, batch_size=128, learning_rate=1e-2, l2=1e-6, random_state=random_state
)
model.fit(train, verbose=True)
print(mrr_score(model, test, train=train).mean())
