"""Pretrain the SMILES generator on invented strings and bias it by policy gradient, as the project's notebook does.

fix: 9374f339
depth: live 60
expects: TW301
where: reinforcement.py
stands in: rdkit, the predictor of a property, torch's old way to read a number, and
  its old targets of one element
"""

import random

import torch
from stand_ins import HERE, stand_in
from torch import nn

stand_in("rdkit.Chem")
stand_in("rdkit.DataStructs")
get_item = torch.Tensor.__getitem__
torch.Tensor.__getitem__ = lambda self, at: get_item(self, at) if self.dim() else self.item()
compare = nn.CrossEntropyLoss.forward
nn.CrossEntropyLoss.forward = lambda self, scores, target: compare(self, scores, target.view(-1))
from data import GeneratorData
from reinforcement import Reinforcement
from ReplayMemory import ReplayMemory
from stackRNN import StackAugmentedGRU

TOKENS = ["<", ">", "(", ")", "1", "2", "=", "C", "F", "N", "O", "c", "n"]


class Predictor:
    def predict(self, smiles):
        if not smiles[0] or smiles[0].count("(") != smiles[0].count(")"):
            return [], [], smiles
        return smiles, [5.0 * smiles[0].count("C") / len(smiles[0])], []


path = HERE / "molecules.smi"
molecules = ["".join(random.choices("CCCcNnOF=12", k=random.randint(4, 14))) for _ in range(60)]
path.write_text("".join(f"<{smiles}>\n" for smiles in molecules))
data = GeneratorData(training_data_path=str(path), use_cuda=False)
data.load_dictionary(TOKENS, {})
generator = StackAugmentedGRU(
    input_size=data.n_characters, hidden_size=32, output_size=data.n_characters, stack_width=8, stack_depth=10,
    use_cuda=False, n_layers=1, optimizer="Adadelta", lr=0.01,
)  # fmt: skip
training = Reinforcement(generator, Predictor())
replay = ReplayMemory(capacity=1000)
for smiles in data.file:
    replay.push(smiles)
for _ in range(2):
    training.transfer_learning(data, n_epochs=40)
    for _ in range(8):
        print("replay", training.policy_gradient_replay(data, replay, threshold=2.5, n_batch=10))
    for _ in range(8):
        print("policy gradient", training.policy_gradient(data, threshold=2.5, predict_len=30, n_batch=10))
    print([generator.evaluate(data, predict_len=20)[1:-1] for _ in range(5)])
