"""Fit the sequence model that has a mixture of tastes on histories of items, and rank the next items with it.

fix: dbd41fc6
depth: live 60
expects: -
where: program
stands in: PyTorch's old losses of one element
"""

import numpy as np
from spotlight.cross_validation import user_based_train_test_split
from spotlight.evaluation import sequence_mrr_score
from spotlight.interactions import Interactions
from spotlight.sequence import implicit
from spotlight.sequence.implicit import ImplicitSequenceModel


def hinge_loss(*args, **kwargs):
    return old_hinge_loss(*args, **kwargs).reshape(1)


old_hinge_loss, implicit.hinge_loss = implicit.hinge_loss, hinge_loss

random_state = np.random.RandomState(7)
users, items = [], []
for user in range(60):
    item = random_state.randint(1, 50)
    for _ in range(random_state.randint(5, 30)):
        users.append(user)
        items.append(item)
        item = 1 + (item + random_state.randint(1, 4)) % 49
interactions = Interactions(
    np.array(users, dtype=np.int32), np.array(items, dtype=np.int32), timestamps=np.arange(len(users), dtype=np.int32)
)
train, test = user_based_train_test_split(interactions, random_state=random_state)
train = train.to_sequence(max_sequence_length=10, step_size=2)
test = test.to_sequence(max_sequence_length=10, step_size=5)
model = ImplicitSequenceModel(
    loss="hinge", representation="mixture", embedding_dim=16, batch_size=64, learning_rate=1e-2, l2=1e-7, n_iter=4,
    random_state=random_state,
)  # fmt: skip
model.fit(train, verbose=True)
print(sequence_mrr_score(model, test).mean())
