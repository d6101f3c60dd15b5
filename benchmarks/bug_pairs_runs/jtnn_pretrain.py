"""Run the project's pretrain.py, a script for Python 2, on invented molecules.

fix: 0e8ab6a3
depth: live 60
expects: -
where: program
stands in: rdkit, the molecules' trees and the junction tree autoencoder (one over characters), Python 2's print and
  xrange, torch's old names, the graphics card
"""

import builtins
import random
import re
import sys
from types import SimpleNamespace

import torch
from stand_ins import HERE, load, stand_in
from torch import nn

LETTERS = "CNOFcnos=()123"


class MolTree:
    def __init__(self, smiles):
        self.smiles, self.nodes = smiles, []

    def recover(self):
        self.nodes = [SimpleNamespace(label=letter, label_mol=letter) for letter in self.smiles]

    def assemble(self):
        for node in self.nodes:
            node.cands, node.cand_mols = random.sample(LETTERS, 4), []


class Autoencoder(nn.Module):
    def __init__(self, vocab, hidden_size, latent_size, depth):
        super().__init__()
        self.embed, self.encoder = nn.Embedding(len(LETTERS), hidden_size), nn.GRU(hidden_size, latent_size)
        self.decoder, self.word = nn.GRU(hidden_size, latent_size), nn.Linear(latent_size, len(LETTERS))

    def forward(self, trees, beta=0):
        loss, right, letters = 0, 0, 0
        for tree in trees:
            tokens = torch.tensor([LETTERS.index(node.label) for node in tree.nodes])
            tokens_in = self.embed(tokens)[:, None]
            _, latent = self.encoder(tokens_in)
            scores = self.word(self.decoder(tokens_in[:-1], latent)[0][:, 0])
            loss = loss + nn.functional.cross_entropy(scores, tokens[1:], reduction="sum")
            right, letters = right + int((scores.argmax(1) == tokens[1:]).sum()), letters + len(scores)
        return loss / len(trees), 0.0, right / letters, 0.0, 0.0, 0.0


stand_in("mol_tree", MolTree=MolTree)
dataset = load("jtnn/datautils.py", "datautils").MoleculeDataset
names = {"JTNNVAE": Autoencoder, "Vocab": list, "MoleculeDataset": dataset}
stand_in("jtnn", __all__=list(names), **names)
logger = SimpleNamespace(setLevel=lambda level: None)
stand_in("rdkit", RDLogger=SimpleNamespace(logger=lambda: logger, CRITICAL=50))
builtins.xrange = range
nn.init.constant, nn.init.xavier_normal = nn.init.constant_, nn.init.xavier_normal_
nn.Module.cuda = lambda self, device=None: self

molecules = ["".join(random.choices(LETTERS, k=random.randint(6, 20))) for _ in range(90)]
(HERE / "invented.txt").write_text("\n".join(molecules))
script = HERE / "molvae/pretrain.py"
sys.argv = [str(script), "-t", "invented.txt", "-v", "data/vocab.txt", "-s", ".", "-b", "8", "-w", "24", "-l", "16"]
source = re.sub(r"^( *)print (.+)$", r"\1print(\2)", script.read_text(), flags=re.MULTILINE)
exec(compile(source, str(script), "exec"), {"__name__": "__main__", "__file__": str(script)})
