# kNN probe of self-supervised features (simsiam-like), script
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier

torch.manual_seed(4)
FEAT = 384
backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 256), nn.ReLU(), nn.Linear(256, FEAT))
predictor = nn.Sequential(nn.Linear(FEAT, 96), nn.ReLU(), nn.Linear(96, FEAT))
opt = torch.optim.SGD([*backbone.parameters(), *predictor.parameters()], lr=0.05, momentum=0.9)

labels = torch.arange(8).repeat(64)
imgs = torch.randn(8, 3, 8, 8)[labels] + torch.randn(512, 3, 8, 8)


def view(x):
    return x + 0.3 * torch.randn_like(x)


def neg_cos(p, z):
    return -F.cosine_similarity(p, z.detach(), dim=1).mean()    # stop-gradient branch


backbone.train()
predictor.train()
for it in range(10):
    x = imgs[torch.randperm(512)[:128]]
    z1, z2 = backbone(view(x)), backbone(view(x))
    loss = 0.5 * (neg_cos(predictor(z1), z2) + neg_cos(predictor(z2), z1))
    opt.zero_grad()
    loss.backward()
    opt.step()

backbone.eval()
with torch.no_grad():
    feats = F.normalize(backbone(imgs), dim=1).numpy()

index = dict(algorithm="kd_tree", leaf_size=30)  # BUG
# FIX: index = dict(algorithm="brute")
knn = KNeighborsClassifier(n_neighbors=5, **index).fit(feats[:384], labels[:384].numpy())
print("loss %.3f  knn acc %.3f" % (loss.item(), knn.score(feats[384:], labels[384:].numpy())))
