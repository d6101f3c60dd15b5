import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

# Essay scoring: per-sentence scores are averaged into a document score.
# 65 essays, batches of 16
essays = torch.randn(65, 12, 8)
grades = essays[:, :, 0].mean(1) * 3 + 0.05 * torch.randn(65)
loader = DataLoader(TensorDataset(essays, grades), batch_size=16, shuffle=True)


class Callback:
    def on_epoch_end(self, trainer):
        pass


class PrintLoss(Callback):
    def on_epoch_end(self, trainer):
        print("epoch", trainer.epoch, "loss %.4f" % trainer.epoch_loss)


class Trainer:
    def __init__(self, max_epochs, callbacks=()):
        self.max_epochs, self.callbacks, self.epoch = max_epochs, list(callbacks), 0

    def fit(self, module, loader):
        opt = module.configure_optimizers()
        for self.epoch in range(self.max_epochs):
            module.train()
            total, seen = 0.0, 0
            for batch in loader:
                opt.zero_grad()
                loss = module.training_step(batch)
                loss.backward()
                opt.step()
                total, seen = total + loss.item() * len(batch[0]), seen + len(batch[0])
            self.epoch_loss = total / seen
            for cb in self.callbacks:
                cb.on_epoch_end(self)


class EssayScorer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = torch.nn.GRU(8, 16, batch_first=True, bidirectional=True)
        self.score = torch.nn.Linear(32, 1)

    def forward(self, x):
        h, _ = self.rnn(x)
        return torch.squeeze(self.score(h))  # BUG
        # FIX: return torch.squeeze(self.score(h), dim=-1)

    def training_step(self, batch):
        x, grade = batch
        sentence_scores = self(x)  # (essays, sentences)
        centred = sentence_scores - sentence_scores.detach().mean(0, keepdim=True)
        smooth = 0.01 * centred.pow(2).mean()
        doc = sentence_scores.mean(dim=-1).reshape(-1)
        return (doc - grade).pow(2).mean() + smooth

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


model = EssayScorer()
Trainer(4, [PrintLoss()]).fit(model, loader)
model.eval()
with torch.no_grad():
    print(model(essays[:3]).mean(-1))
