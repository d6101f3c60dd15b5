"""Train DCN-Mix on invented clicks, validated after each epoch, as the project's run_classification_criteo.py does.

fix: 30df1d1d
depth: live 60
expects: TW160
where: deepctr_torch/layers/interaction.py
stands in: tensorflow's callbacks, requests
"""

import numpy as np
import torch._dynamo  # noqa: F401 - it asks whether tensorflow is installed, so before the stand-in
from sklearn.metrics import log_loss, roc_auc_score
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
from deepctr_torch.inputs import DenseFeat, SparseFeat, get_feature_names
from deepctr_torch.models import DCNMix

sparse_sizes = {"C1": 20, "C2": 50, "C3": 8, "C4": 30}
dense_features = ["I1", "I2", "I3"]
columns = [SparseFeat(name, vocabulary_size=size, embedding_dim=4) for name, size in sparse_sizes.items()]
columns += [DenseFeat(name, 1) for name in dense_features]
feature_names = get_feature_names(columns)

rng = np.random.default_rng(2020)
count = 470
data = {name: rng.integers(0, size, count) for name, size in sparse_sizes.items()}
data |= {name: rng.random(count) for name in dense_features}
label = (data["C3"] / 8 + data["I1"] + rng.normal(0, 0.3, count) > 1).astype(float)
order = rng.permutation(count)
train, test = order[:380], order[380:]
train_model_input = {name: data[name][train] for name in feature_names}
test_model_input = {name: data[name][test] for name in feature_names}

model = DCNMix(columns, columns, dnn_hidden_units=(32, 16), low_rank=8, num_experts=3, task="binary", device="cpu")
model.compile("adagrad", "binary_crossentropy", metrics=["binary_crossentropy", "auc"])
model.fit(train_model_input, label[train], batch_size=32, epochs=4, verbose=2, validation_split=0.2)
prediction = model.predict(test_model_input, batch_size=32)
print("test LogLoss", round(log_loss(label[test], prediction), 4))
print("test AUC", round(roc_auc_score(label[test], prediction), 4))
