import functools
import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = {
    "seed": 5,
    "image_size": 16,
    "channels": [1, 8, 16],
    "num_classes": 6,
    "hidden_act": "gelu",
    "out_act": "softmax",  # BUG
    # FIX: "out_act": "identity",
    "lr": 2e-3,
    "epochs": 4,
}

ACTIVATIONS = {
    "relu": F.relu,
    "gelu": F.gelu,
    "identity": lambda t: t,
    "softmax": functools.partial(torch.softmax, dim=1),
}


class ShapeNet(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(cfg["channels"], cfg["channels"][1:])
        )
        self.act = ACTIVATIONS[cfg["hidden_act"]]
        self.final = ACTIVATIONS[cfg["out_act"]]
        side = cfg["image_size"] // 2 ** len(self.convs)
        self.fc = nn.Linear(cfg["channels"][-1] * side * side, cfg["num_classes"])

    def forward(self, img):
        for conv in self.convs:
            img = self.act(conv(img))
        return self.final(self.fc(img.flatten(1)))  # BUG


def shapes(n, cfg, gen):
    """a bright bar whose row tells the class"""
    label = torch.randint(0, cfg["num_classes"], (n,), generator=gen)
    img = 0.2 * torch.randn(n, 1, cfg["image_size"], cfg["image_size"], generator=gen)
    img[torch.arange(n), 0, 2 * label + 1] += 1.0
    return img, label


def run(cfg):
    torch.manual_seed(cfg["seed"])
    gen = torch.Generator().manual_seed(cfg["seed"] + 1)
    x, y = shapes(384, cfg, gen)
    xv, yv = shapes(96, cfg, gen)
    model = ShapeNet(cfg)
    optim = torch.optim.Adam(model.parameters(), lr=cfg["lr"])
    for epoch in range(cfg["epochs"]):
        model.train()
        for idx in torch.randperm(len(x)).split(32):
            optim.zero_grad()
            loss = F.cross_entropy(model(x[idx]), y[idx])
            loss.backward()
            optim.step()
        model.eval()
        with torch.no_grad():
            out = model(xv)
            acc = (out.argmax(1) == yv).float().mean()
            print(epoch, "val loss %.4f" % F.cross_entropy(out, yv), "acc %.3f" % acc)


if __name__ == "__main__":
    run(CONFIG)
