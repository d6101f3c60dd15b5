"""Train AutoInt on invented clicks with the project's own fit and test it with its best weights.

fix: abd51820
depth: live 60
expects: TW122
where: fuxictr/pytorch/layers/attention.py
stands in: pandas, h5py and files of the latter, log_loss's old argument
"""

import logging
from importlib.machinery import ModuleSpec
from pathlib import Path

import fuxictr
import numpy as np
import sklearn.metrics
from stand_ins import stand_in

np.Inf, log_loss = np.inf, sklearn.metrics.log_loss
sklearn.metrics.log_loss = lambda true, predicted, eps=None: log_loss(true, predicted)
logging.basicConfig(level=logging.INFO)
arrays = {}
for name in ("pandas", "h5py"):
    stand_in(name, __spec__=ModuleSpec(name, None))
stand_in("fuxictr.datasets.data_utils", load_hdf5=lambda path, key=None, verbose=True: arrays[path])
from fuxictr.features import FeatureMap
from fuxictr.pytorch.data_generator import DataGenerator
from fuxictr.pytorch.models.AutoInt import AutoInt
from fuxictr.pytorch.torch_utils import seed_everything

seed_everything(seed=2019)
sizes = {"userid": 40, "adgroup_id": 60, "pid": 3, "cate_id": 12, "shopping_level": 4, "age_level": 7, "occupation": 3}
feature_map = FeatureMap("tiny", "data")
for field, size in sizes.items():
    feature_map.feature_specs[field] = {"source": "", "type": "categorical", "vocab_size": size}
feature_map.num_fields, feature_map.num_features = len(sizes), sum(sizes.values())
feature_map.set_feature_index()
for name, count in (("train", 330), ("valid", 90), ("test", 75)):
    fields = [np.random.randint(0, size, count) for size in sizes.values()]
    clicks = (np.random.rand(count) < 0.2 + 0.5 * (fields[1] % 3 == fields[5] % 3)).astype(int)
    arrays[name] = np.stack([*fields, clicks], axis=1).astype(np.float64)
Path("checkpoints/tiny").mkdir(parents=True, exist_ok=True)
train, valid, test = (
    DataGenerator(name, batch_size=32, shuffle=name == "train", num_workers=0) for name in ("train", "valid", "test")
)
model = AutoInt(
    feature_map,
    learning_rate=1e-3,
    embedding_dim=10,
    dnn_hidden_units=[32, 32],
    attention_layers=2,
    num_heads=2,
    attention_dim=8,
    net_dropout=0.1,
    optimizer="adam",
    loss="binary_crossentropy",
    metrics=["logloss", "AUC"],
    model_root="checkpoints",
    verbose=0,
)
model.count_parameters()
model.fit_generator(train, validation_data=valid, epochs=3, verbose=0)
model.load_weights(model.checkpoint)
print(fuxictr.__version__, model.evaluate_generator(test))
