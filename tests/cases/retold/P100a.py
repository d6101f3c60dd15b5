"""Protein property regression from one-hot residues."""
import argparse
import torch
import torch.nn as nn

ALPHABET = "ACDEFGHIKLMNPQRSTVWY"


class ProteinTokenizer:
    def __init__(self, alphabet=ALPHABET):
        self.alphabet = alphabet
        self.eye = torch.eye(len(alphabet))  # BUG
        # FIX: self.unknown = len(alphabet)
        # FIX: self.eye = torch.eye(len(alphabet) + 1)

    def residue_id(self, aa):
        return self.alphabet.find(aa)  # BUG
        # FIX: pos = self.alphabet.find(aa)
        # FIX: return pos if pos >= 0 else self.unknown

    def __call__(self, seqs):
        return torch.stack([self.eye[[self.residue_id(a) for a in s]] for s in seqs])


class ConvRegressor(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.conv = nn.Conv1d(channels, width, 3, padding=1)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(torch.relu(self.conv(x.transpose(1, 2))).mean(-1)).squeeze(-1)


def sample(n, length=15):
    letters = ALPHABET + "XBU"
    seqs = ["".join(letters[i] for i in row) for row in torch.randint(0, len(letters), (n, length)).tolist()]
    return seqs, torch.tensor([sum(s.count(a) for a in "WYF") / length for s in seqs])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--width", type=int, default=16)
    p.add_argument("--steps", type=int, default=40)
    args = p.parse_args()
    torch.manual_seed(0)
    tok = ProteinTokenizer()
    model = ConvRegressor(tok.eye.shape[0], args.width)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(args.steps):
        seqs, y = sample(32)
        loss = nn.functional.mse_loss(model(tok(seqs)), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"loss {loss.item():.5f}")


if __name__ == "__main__":
    main()
