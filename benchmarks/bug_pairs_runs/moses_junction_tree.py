"""Train the junction tree's encoder and decoder with the project's trainer on invented trees, and sample new trees.

fix: 6964698b
depth: live 60
expects: -
where: program
stands in: rdkit and the chemistry above it (molecules are lists of atoms), the graph half of the model, moses.utils
"""

import random
from types import SimpleNamespace

import torch
from stand_ins import HERE, package, stand_in
from torch import nn


class Molecule:
    def __init__(self, smiles):
        self.atoms = [letter for letter in smiles if letter.isupper()]

    def GetNumAtoms(self):
        return len(self.atoms)

    def GetAtoms(self):
        zero, two = lambda: 0, lambda: 2
        return [SimpleNamespace(GetSymbol=a.upper, GetFormalCharge=zero, GetTotalNumHs=two) for a in self.atoms]


def enum_assemble(node, neighbors):
    return [node.smiles] if len(neighbors) <= node.mol.GetNumAtoms() else []


stand_in("rdkit.Chem", MolFromSmiles=Molecule)
for name in ("moses.junction_tree.jtnn", "moses.junction_tree", "moses"):
    package(name, HERE / name.replace(".", "/"))
stand_in("moses.utils")
stand_in("moses.junction_tree.jtnn.chemutils", get_mol=Molecule, enum_assemble=enum_assemble)
from moses.junction_tree.jtnn.jtnn_dec import JTNNDecoder
from moses.junction_tree.jtnn.jtnn_enc import JTNNEncoder
from moses.junction_tree.jtnn.mol_tree import MolTreeNode
from moses.junction_tree.jtnn.vocabulary import JTreeVocab
from moses.junction_tree.trainer import JTreeTrainer

clusters = [
    "CC",
    "CO",
    "CN",
    "CF",
    "CS",
    "CCO",
    "C=O",
    "C=C",
    "C=N",
    "C1CC1",
    "C1CCC1",
    "C1CCCC1",
    "C1CCOC1",
    "CNCO",
    "OCC",
]


class TreeVAE(nn.Module):
    device = torch.device("cpu")

    def __init__(self, vocab, hidden=32, latent=16):
        super().__init__()
        self.embedding = nn.Embedding(vocab.size(), hidden)
        self.jtnn = JTNNEncoder(vocab, hidden, self.embedding)
        self.decoder = JTNNDecoder(vocab, hidden, latent, self.embedding)
        self.T_mean, self.T_var = nn.Linear(hidden, latent), nn.Linear(hidden, latent)

    def forward(self, trees, beta=0):
        _, root = self.jtnn([tree.nodes[0] for tree in trees])
        mean, log_var = self.T_mean(root), -self.T_var(root).abs()
        kl_loss = -0.5 * (1 + log_var - mean * mean - log_var.exp()).sum() / len(trees)
        z = mean + (log_var / 2).exp() * torch.randn_like(mean)
        word_loss, topo_loss, word_acc, topo_acc = self.decoder(trees, z)
        return word_loss + topo_loss + beta * kl_loss, kl_loss.item(), word_acc, topo_acc, 0, 0


def invented_tree(number):
    nodes = []
    for at in range(random.Random(number).randint(3, 8)):
        parent = nodes[random.Random(number + at).randrange(max(0, at - 2), at)] if at else None
        kind = (parent.wid + random.Random(number - at).choice([1, 1, 3]) if at else number) % len(clusters)
        nodes.append(MolTreeNode(clusters[kind]))
        nodes[at].idx, nodes[at].wid = 10 * number + at, kind
        if at:
            nodes[at].add_neighbor(parent)
            parent.add_neighbor(nodes[at])
    return SimpleNamespace(nodes=nodes)


class Trainer(JTreeTrainer):
    def get_collate_fn(self, model):
        return lambda numbers: [invented_tree(number) for number in numbers]


torch.manual_seed(0)
config = {"n_batch": 16, "n_workers": 1, "train_epochs": 20, "lr": 3e-3, "kl_start": 1, "kl_w": 5e-3, "log_file": None}
config |= {"save_frequency": 10, "model_save": "model.pt"}
model = TreeVAE(JTreeVocab(clusters))
Trainer(SimpleNamespace(**config)).fit(model, range(150))
model.eval()
with torch.no_grad():
    for z in torch.randn(20, 1, 16):
        print([node.smiles for node in model.decoder.decode(z, prob_decode=True)[1]])
