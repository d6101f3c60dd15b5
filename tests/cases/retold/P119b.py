"""Character generator with sampling after training (functional style, torchrun)."""
import os
from typing import Optional

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

TEXT = "to be or not to be that is the question " * 8
CHARS = sorted(set(TEXT))
IDS = torch.tensor([CHARS.index(c) for c in TEXT])


class CharLM(nn.Module):
    def __init__(self, n_hidden: int = 48) -> None:
        super().__init__()
        self.emb = nn.Embedding(len(CHARS), n_hidden)
        self.gru = nn.GRU(n_hidden, n_hidden, batch_first=True)
        self.out = nn.Linear(n_hidden, len(CHARS))

    def forward(self, idx: Tensor, state: Optional[Tensor] = None):
        h, state = self.gru(self.emb(idx), state)
        return self.out(h), state

    @torch.no_grad()
    def sample(self, first: int, n: int) -> str:
        idx, state, out = torch.tensor([[first]]), None, []
        for _ in range(n):
            logits, state = self(idx, state)
            idx = torch.multinomial(logits[:, -1].softmax(-1), 1)
            out.append(CHARS[idx.item()])
        return "".join(out)


def windows(batch: int, width: int) -> tuple[Tensor, Tensor]:
    at = torch.randint(0, len(IDS) - width - 1, (batch,))
    chunk = torch.stack([IDS[i:i + width + 1] for i in at.tolist()])
    return chunk[:, :-1], chunk[:, 1:]


def report(net: nn.Module) -> None:
    net.eval()
    text = net.sample(first=0, n=30)  # BUG
    # FIX: text = getattr(net, "module", net).sample(first=0, n=30)
    print(repr(text))


def main() -> None:
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    torch.manual_seed(0)
    net: nn.Module = CharLM()
    if world > 1:
        dist.init_process_group("gloo")
        net = nn.parallel.DistributedDataParallel(net)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    torch.manual_seed(1 + rank)
    net.train()
    for step in range(40):
        x, y = windows(16, 24)
        logits, _ = net(x)
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        opt.zero_grad()
        loss.backward()
        opt.step()
    if rank == 0:
        print(f"loss {loss.item():.3f}")
        report(net)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
