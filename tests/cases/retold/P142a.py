import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Faces(Dataset):
    def __init__(self, n=96):
        g = torch.Generator().manual_seed(0)
        self.img = torch.randn(n, 3, 16, 16, generator=g)
        self.kp = torch.stack([self.img[:, 0].mean((1, 2)), self.img[:, 1].amax((1, 2)) / 3], dim=1)

    def __len__(self):
        return len(self.img)

    def __getitem__(self, i):
        return self.img[i], self.kp[i]


class KeypointNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class AmpContext:
    def __init__(self, device, enabled):
        self.device = device
        self.dtype = torch.float16 if device == "cuda" else torch.bfloat16
        self.enabled = enabled
        self.scaler = torch.amp.GradScaler(device, enabled=enabled and device == "cuda")

    def cast(self):
        return torch.autocast(self.device, dtype=self.dtype, enabled=self.enabled)


class Trainer:
    def __init__(self, args):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.amp = AmpContext(self.device, args.amp)
        self.model = KeypointNet(args.width).to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.lr)
        self.loader = DataLoader(Faces(), batch_size=16, shuffle=True)
        self.epochs = args.epochs

    def optimize(self, img, kp):
        self.optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.mse_loss(self.model(img), kp)  # BUG
        # FIX: with self.amp.cast():
        # FIX:     loss = nn.functional.mse_loss(self.model(img), kp)
        self.amp.scaler.scale(loss).backward()  # BUG
        self.amp.scaler.step(self.optimizer)  # BUG
        self.amp.scaler.update()
        return loss.item()

    def fit(self):
        for epoch in range(self.epochs):
            self.model.train()
            for img, kp in self.loader:
                img, kp = img.to(self.device), kp.to(self.device)
                with self.amp.cast():  # BUG
                # FIX:
                    loss = self.optimize(img, kp)  # BUG
                    # FIX:
                # FIX+: loss = self.optimize(img, kp)
            print(f"epoch {epoch} loss {loss:.4f}")

    @torch.no_grad()
    def predict(self, img):
        self.model.eval()
        with self.amp.cast():
            return self.model(img.to(self.device)).float()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--amp", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    trainer = Trainer(args)
    trainer.fit()
    print(trainer.predict(torch.randn(2, 3, 16, 16)).shape)
