import torch
import torch.nn as nn

torch.manual_seed(3)


class MiniModule(nn.Module):
    """The few hooks our loop needs."""

    def training_step(self, batch, batch_idx):
        raise NotImplementedError

    def configure_optimizers(self):
        raise NotImplementedError


def fit(module, loader, max_epochs=1):
    opt = module.configure_optimizers()
    for epoch in range(max_epochs):
        module.train()
        for k, batch in enumerate(loader):
            opt.zero_grad(set_to_none=True)
            out = module.training_step(batch, k)
            out["loss"].backward()
            opt.step()
        print("epoch", epoch, "last loss", out["loss"].item())


class SpeechQualityMOS(MiniModule):
    def __init__(self, n_mels=20, lr=1e-3):
        super().__init__()
        self.lr = lr
        self.conv = nn.Sequential(
            nn.Conv1d(n_mels, 32, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(1)
        )
        self.score = nn.Linear(32, 1)

    def forward(self, mel):
        return self.score(self.conv(mel))

    def _log_cosh(self, err):
        return (err + nn.functional.softplus(-2.0 * err) - 0.6931472).mean()

    def training_step(self, batch, batch_idx):
        mos_hat = self(batch["mel"])
        loss = self._log_cosh(mos_hat - batch["mos"])  # BUG
        # FIX: loss = self._log_cosh(mos_hat.flatten() - batch["mos"])
        return {"loss": loss}

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


class MelSet(torch.utils.data.Dataset):
    def __init__(self, n):
        self.mel = torch.randn(n, 20, 50)
        self.mos = 3 + self.mel[:, :5].mean((1, 2)) * 6

    def __len__(self):
        return len(self.mel)

    def __getitem__(self, idx):
        return {"mel": self.mel[idx], "mos": self.mos[idx]}


model = SpeechQualityMOS()
fit(model, torch.utils.data.DataLoader(MelSet(64), batch_size=16, shuffle=True), max_epochs=3)

model.eval()
with torch.inference_mode():
    print(model(torch.randn(2, 20, 80)).tolist())
