"""Fine-tune a (here: mini) pretrained network on CIFAR-sized images."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

MODEL_ZOO = {"mini_resnet": {"input_size": 64, "width": 8}}


class CifarLike(Dataset):
    def __init__(self, n, resolution):
        self.y = torch.randint(0, 2, (n,))
        self.x = torch.rand(n, 3, 32, 32) * 0.5
        self.x[self.y == 1, :, 8:24, 8:24] += 0.5
        self.resolution = resolution

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        img = F.interpolate(self.x[i:i + 1], size=self.resolution, mode="bilinear", align_corners=False)[0]
        return (img - 0.5) / 0.25, self.y[i]


def load_pretrained(name):
    w = MODEL_ZOO[name]["width"]
    torch.manual_seed(1)  # stands for downloaded weights
    return nn.Sequential(nn.Conv2d(3, w, 7, 4, 3), nn.ReLU(), nn.Conv2d(w, 2 * w, 3, 2, 1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32 * w, 10))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", default="mini_resnet")
    p.add_argument("--img-size", type=int, default=512)  # BUG
    # FIX: p.add_argument("--img-size", type=int, default=None)
    p.add_argument("--lr", type=float, default=1e-2)
    args = p.parse_args()
    net = load_pretrained(args.model)
    net[-1] = nn.Linear(net[-1].in_features, 2)
    torch.manual_seed(0)
    size = args.img_size or MODEL_ZOO[args.model]["input_size"]
    loader = DataLoader(CifarLike(64, (size, size)), batch_size=16, shuffle=True)
    opt = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
    net.train()
    for epoch in range(2):
        for x, y in loader:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} input {tuple(x.shape)} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
