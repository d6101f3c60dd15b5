import os
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # BUG
# FIX:
import tempfile
import urllib.parse

import torch
import torch.nn as nn

torch.manual_seed(13)

# --- a "downloaded" text encoder checkpoint (stands for the hub cache)
cache = tempfile.mkdtemp()
url = "https://example.org/models/textenc-v1.pt"
fname = os.path.join(cache, os.path.basename(urllib.parse.urlparse(url).path))
published = nn.EmbeddingBag(256, 32, mode="mean")
torch.save({"state_dict": published.state_dict(), "vocab": 256}, fname)

# --- sentence classification on top of it
ck = torch.load(fname, map_location="cpu")
encoder = nn.EmbeddingBag(ck["vocab"], 32, mode="mean")
encoder.load_state_dict(ck["state_dict"])
encoder.requires_grad_(False)
encoder.eval()
head = nn.Linear(32, 2)

sentences = torch.randint(256, (200, 10))
labels = (sentences.float().mean(1) > 127.5).long()
opt = torch.optim.LBFGS(head.parameters(), max_iter=10)
with torch.no_grad():
    feats = encoder(sentences)


def closure():
    opt.zero_grad()
    loss = nn.functional.cross_entropy(head(feats), labels)
    loss.backward()
    return loss


head.train()
for i in range(3):
    print(i, opt.step(closure).item())
os.remove(fname)
os.rmdir(cache)
