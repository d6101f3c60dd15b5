"""Train a small matching model with the project's trainer on a ranking task, and validate it after each epoch.

fix: 24c62a21
depth: live 60
expects: -
where: program
stands in: the project's data loader and base class of models (built on pandas, hyperopt, dill), pandas' groups of rows
needs: six
"""

from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import HERE, package, stand_in
from torch import nn


class DataFrame:
    def __init__(self, data):
        self.data = data

    def groupby(self, by):
        return DataFrame({**self.data, "key": self.data[by]})

    def apply(self, function):
        keys = self.data["key"]
        rows = (keys == key for key in np.unique(keys))
        groups = ({name: SimpleNamespace(values=column[row]) for name, column in self.data.items()} for row in rows)
        return np.array([function(group) for group in groups])


class BaseModel(nn.Module):
    pass


class Matcher(BaseModel):
    def __init__(self, task):
        super().__init__()
        self.params = {"task": task}
        self.embedding = nn.Embedding(60, 16, padding_idx=0)
        self.head = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))

    def forward(self, inputs):
        left, right = (self.embedding(inputs[side]).sum(1) for side in ("text_left", "text_right"))
        return self.head(torch.cat([left * right, left - right], dim=-1))


class DataLoader:
    def __init__(self, queries, num_neg, batch_size, shuffle=False):
        self.queries, self.num_neg, self.batch_size, self.shuffle = queries, num_neg, batch_size, shuffle
        self.id_left = np.repeat(np.arange(len(queries)), num_neg + 1)
        self.label = np.tile(np.eye(1, num_neg + 1, dtype=np.float32)[0], len(queries))

    def __len__(self):
        return -(-len(self.queries) // self.batch_size)

    def __iter__(self):
        order = torch.randperm(len(self.queries)) if self.shuffle else torch.arange(len(self.queries))
        for rows in order.split(self.batch_size):
            queries = self.queries[rows].repeat_interleave(self.num_neg + 1, dim=0)
            answers = torch.randint(1, 60, queries.shape)
            answers[:: self.num_neg + 1] = queries[:: self.num_neg + 1].flip(1)
            answers[torch.rand(answers.shape) < 0.2] = 0
            labels = torch.tensor(self.label[: len(queries)]).view(-1, 1)
            yield {"text_left": queries, "text_right": answers}, labels


stand_in("pandas", DataFrame=DataFrame, __spec__=ModuleSpec("pandas", None))
package("matchzoo", HERE / "matchzoo").USER_DATA_DIR = HERE / "matchzoo_data"
stand_in("matchzoo.dataloader", DataLoader=DataLoader)
package("matchzoo.engine", HERE / "matchzoo/engine")
stand_in("matchzoo.engine.base_model", BaseModel=BaseModel)
from matchzoo import losses, metrics, tasks
from matchzoo.trainers import Trainer

torch.manual_seed(0)
task = tasks.Ranking(losses=losses.RankCrossEntropyLoss(num_neg=4), metrics=[metrics.MeanAveragePrecision()])
model = Matcher(task)
trainer = Trainer(
    model=model,
    optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
    trainloader=DataLoader(torch.randint(1, 60, (100, 6)), 4, 16, shuffle=True),
    validloader=DataLoader(torch.randint(1, 60, (22, 6)), 4, 16),
    epochs=5,
)
trainer.run()
