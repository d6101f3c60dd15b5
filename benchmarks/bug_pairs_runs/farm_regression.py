"""Fit the project's regression head on a small text encoder with invented texts and scores, and validate each epoch.

fix: ee306162
depth: live 60
expects: TW101
where: farm/modeling/prediction_head.py
stands in: the language model and what the module of the heads imports (old transformers, pandas, farm's utilities)
"""

from importlib.machinery import ModuleSpec

import torch
from stand_ins import load, stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def is_json(value):
    return isinstance(value, (str, int, float, list, dict))


stand_in("pandas", __spec__=ModuleSpec("pandas", None))
stand_in("transformers.modeling_bert")
stand_in("transformers.modeling_auto")
stand_in("transformers.configuration_auto")
stand_in("farm.data_handler.utils", is_json=is_json)
stand_in("farm.utils")
heads = load("farm/modeling/prediction_head.py")


class Regressor(nn.Module):
    def __init__(self, vocabulary, width):
        super().__init__()
        self.words = nn.EmbeddingBag(vocabulary, width)
        self.body = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Dropout(0.1))
        self.head = heads.RegressionHead([width, 1])
        self.head.label_tensor_name = "regression_label_ids"
        self.head.label_list = [mean, scale]

    def forward(self, tokens):
        return self.head(self.body(self.words(tokens)))


def texts(count):
    tokens = torch.randint(100, (count, 12))
    return tokens, worth[tokens].sum(1, keepdim=True) + 0.1 * torch.randn(count, 1)


torch.manual_seed(0)
worth = torch.randn(100)
tokens, scores = texts(400)
test_tokens, test_scores = texts(100)
mean, scale = scores.mean().item(), scores.std().item()
training = DataLoader(TensorDataset(tokens, (scores - mean) / scale), batch_size=16, shuffle=True)
testing = DataLoader(TensorDataset(test_tokens, (test_scores - mean) / scale), batch_size=16)
model = Regressor(100, 32)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

for epoch in range(5):
    model.train()
    total = 0.0
    for batch, labels in training:
        loss = model.head.logits_to_loss(model(batch), regression_label_ids=labels).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    errors = []
    with torch.no_grad():
        for batch, labels in testing:
            predicted = model.head.logits_to_preds(model(batch))
            known = model.head.prepare_labels(regression_label_ids=labels)
            errors += [abs(float(p[0]) - float(k[0])) for p, k in zip(predicted, known)]
    print(f"epoch {epoch}: loss {total / len(training):.4f} mean error {sum(errors) / len(errors):.4f}")
