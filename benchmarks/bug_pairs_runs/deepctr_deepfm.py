"""Train DeepFM to predict the ratings of invented films, as the project's run_regression_movielens.py does.

fix: f0f205bc
depth: live 60
expects: -
where: program
stands in: requests, the version counter of old optimizers (they left it alone when they changed a parameter)
"""

import numpy as np
import torch
from sklearn.metrics import mean_squared_error
from stand_ins import stand_in

stand_in("requests")
from deepctr_torch.inputs import SparseFeat, get_feature_names
from deepctr_torch.models import DeepFM


class Adam(torch.optim.Adam):
    def step(self, closure=None):
        parameters = tuple(p for group in self.param_groups for p in group["params"])
        with torch.autograd._unsafe_preserve_version_counter(parameters):
            return super().step(closure)


sizes = {"movie_id": 60, "user_id": 40, "gender": 2, "age": 7, "occupation": 12, "zip": 30}
columns = [SparseFeat(name, size) for name, size in sizes.items()]
feature_names = get_feature_names(columns)

rng = np.random.default_rng(2020)
count = 700
data = {name: rng.integers(0, size, count) for name, size in sizes.items()}
rating = np.clip(data["movie_id"] % 5 + 1 + rng.normal(0, 0.5, count), 1, 5).round()[:, None]
order = rng.permutation(count)
train, test = order[:560], order[560:]
train_model_input = {name: data[name][train] for name in feature_names}
test_model_input = {name: data[name][test] for name in feature_names}

model = DeepFM(columns, columns, dnn_hidden_units=(32, 16), task="regression", seed=2020, device="cpu")
model.compile(Adam(model.parameters()), "mse", metrics=["mse"])
model.fit(train_model_input, rating[train], batch_size=64, epochs=4, verbose=2, validation_split=0.2)
prediction = model.predict(test_model_input, batch_size=64)
print("test MSE", round(mean_squared_error(rating[test], prediction), 4))
