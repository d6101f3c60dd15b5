"""Train DIEN with Dice in its attention on invented clicks, save its weights, and predict with a model that loads them.

fix: e94095b0
depth: live 60
expects: -
where: program
stands in: tensorflow's callbacks, requests
"""

import numpy as np
import torch._dynamo  # it asks whether tensorflow is installed, so before the stand-in
from stand_ins import stand_in


class CallbackList:
    def __init__(self, callbacks):
        pass

    def set_model(self, model):
        self.model = model

    def on_train_begin(self, *args):
        pass

    on_train_end = on_epoch_begin = on_epoch_end = on_train_begin


stand_in("tensorflow.python.keras.callbacks", CallbackList=CallbackList)
stand_in("requests")
from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat, get_feature_names
from deepctr_torch.models import DIEN

columns = [
    SparseFeat("user", 30, embedding_dim=4),
    SparseFeat("gender", 2, embedding_dim=4),
    SparseFeat("item_id", 40, embedding_dim=8),
    SparseFeat("cate_id", 8, embedding_dim=4),
    DenseFeat("pay_score", 1),
]
for name, size, width in (("item_id", 40, 8), ("cate_id", 8, 4)):
    feature = SparseFeat("hist_" + name, vocabulary_size=size, embedding_dim=width, embedding_name=name)
    columns.append(VarLenSparseFeat(feature, maxlen=6, length_name="seq_length"))


def clicks(rng, count):
    lengths = rng.integers(1, 7, count)
    real = np.arange(6) < lengths[:, None]
    values = {
        "user": rng.integers(0, 30, count),
        "gender": rng.integers(0, 2, count),
        "item_id": rng.integers(1, 40, count),
        "cate_id": rng.integers(1, 8, count),
        "pay_score": rng.random(count),
        "hist_item_id": rng.integers(1, 40, (count, 6)) * real,
        "hist_cate_id": rng.integers(1, 8, (count, 6)) * real,
        "seq_length": lengths,
    }
    label = (values["cate_id"] + rng.integers(0, 6, count) > 6).astype(float)
    return {name: values[name] for name in get_feature_names(columns)}, label


def build():
    return DIEN(columns, ["item_id", "cate_id"], gru_type="AUGRU", dnn_hidden_units=(16, 8), att_activation="Dice")


rng = np.random.default_rng(0)
model = build()
model.compile("adam", "binary_crossentropy", metrics=["binary_crossentropy", "auc"])
model.fit(*clicks(rng, 300), batch_size=32, epochs=3, verbose=2, validation_split=0.2)
torch.save(model.state_dict(), "DIEN_weights.h5")
loaded = build()
loaded.load_state_dict(torch.load("DIEN_weights.h5"))
print(loaded.predict(clicks(rng, 50)[0], batch_size=32)[:5])
