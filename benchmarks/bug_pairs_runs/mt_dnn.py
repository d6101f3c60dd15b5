"""Train the multi-task network on random sentences and evaluate it after each step.

fix: a7f74e0a
depth: live 6
expects: TW357
where: module/dropout_wrapper.py, mt_dnn/matcher.py
stands in: pytorch_pretrained_bert (a small encoder)
"""

from types import SimpleNamespace

import torch
from stand_ins import stand_in
from torch import nn


class Bert(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = nn.Embedding(100, config.hidden_size)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, ids, types, mask):
        hidden = self.embeddings(ids)
        return [hidden], torch.tanh(self.pooler(hidden.mean(1)))


config = SimpleNamespace(hidden_size=32, initializer_range=0.02)
stand_in(
    "pytorch_pretrained_bert.modeling", BertModel=Bert, BertConfig=SimpleNamespace(from_dict=lambda opt: config),
    BertLayerNorm=nn.LayerNorm,
)  # fmt: skip
from mt_dnn.matcher import SANBertNetwork

options = {
    "update_bert_opt": 0, "answer_opt": [0], "label_size": "3", "tasks_dropout_p": [0.3], "vb_dropout": True,
    "init_ratio": 1.0, "embedding_opt": 0,
}  # fmt: skip
model = SANBertNetwork(options)
optimizer = torch.optim.Adamax(model.parameters(), lr=1e-3)
for _ in range(6):
    ids, labels = torch.randint(100, (8, 12)), torch.randint(3, (8,))
    model.train()
    loss = nn.functional.cross_entropy(model(ids, torch.zeros_like(ids), torch.ones_like(ids)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        model(ids, torch.zeros_like(ids), torch.ones_like(ids)).argmax(1)
