# curriculum: the model keeps a flag that says whether it works on easy or full-length inputs
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)


class KeywordSpotter(nn.Module):
    def __init__(self, n_mels=12, width=24, n_words=4, pretraining=True):
        super().__init__()
        self.training = pretraining  # BUG
        # FIX: self.pretraining = pretraining
        self.rnn = nn.GRU(n_mels, width, batch_first=True)
        self.recon = nn.Linear(width, n_mels)
        self.words = nn.Linear(width, n_words)
        self.drop = nn.Dropout(0.1)

    def begin_supervised(self):
        self.training = False  # BUG
        # FIX: self.pretraining = False

    def losses(self, mel, word):
        h, _ = self.rnn(mel)
        if self.training:  # BUG
        # FIX: if self.pretraining:
            return F.mse_loss(self.recon(h[:, :-1]), mel[:, 1:])
        return F.cross_entropy(self.words(self.drop(h[:, -1])), word)

    def predict(self, mel):
        return self.words(self.rnn(mel)[0][:, -1]).argmax(-1)


def batch(n):
    word = torch.randint(4, (n,))
    mel = 0.5 * torch.randn(n, 15, 12)
    mel[torch.arange(n), :, word * 3] += 1.0
    return mel, word


def stage(net, steps, lr):
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    for _ in range(steps):
        net.train()
        loss = net.losses(*batch(32))
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


net = KeywordSpotter()
print("reconstruction", stage(net, 30, 5e-3))
net.begin_supervised()
print("words", stage(net, 30, 5e-3))
net.eval()
with torch.no_grad():
    mel, word = batch(100)
    print("accuracy", (net.predict(mel) == word).float().mean().item())
