"""Hook-style loop: callbacks around a small segmentation task, several processes."""
import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import distributed as data_dist

os.environ.setdefault("RANK", "0")
os.environ.setdefault("WORLD_SIZE", "1")
os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
os.environ.setdefault("MASTER_PORT", "29617")


class Callback:
    def on_epoch_start(self, loop): ...

    def on_epoch_end(self, loop): ...


class PrintLoss(Callback):
    def on_epoch_end(self, loop):
        if dist.get_rank() == 0:
            print(f"epoch {loop.epoch}: {loop.last_loss:.4f}")


class ReshuffleData(Callback):
    def on_epoch_start(self, loop):
        sampler = loop.loader.sampler
        if isinstance(sampler, data_dist.DistributedSampler):
            sampler.set_epoch(loop.epoch)


class Loop:
    def __init__(self, net, loader, callbacks):
        self.net, self.loader, self.callbacks = net, loader, callbacks
        self.opt = torch.optim.Adam(net.parameters(), lr=1e-2)
        self.epoch, self.last_loss = 0, float("nan")

    def emit(self, name):
        for cb in self.callbacks:
            getattr(cb, name)(self)

    def run(self, max_epochs):
        for self.epoch in range(max_epochs):
            self.emit("on_epoch_start")
            self.net.train()
            for img, seg in self.loader:
                self.opt.zero_grad(set_to_none=True)
                loss = F.binary_cross_entropy_with_logits(self.net(img), seg)
                loss.backward()
                self.opt.step()
                self.last_loss = loss.item()
            self.emit("on_epoch_end")


dist.init_process_group("gloo")
torch.manual_seed(0)
images = torch.rand(64, 3, 16, 16)
masks = (images.mean(1, keepdim=True) > 0.5).float()
data = TensorDataset(images, masks)
loader = DataLoader(data, batch_size=8, sampler=data_dist.DistributedSampler(data, seed=3))
net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 1))
net = torch.nn.parallel.DistributedDataParallel(net)
Loop(net, loader, callbacks=[PrintLoss()]).run(max_epochs=3)  # BUG
# FIX: Loop(net, loader, callbacks=[ReshuffleData(), PrintLoss()]).run(max_epochs=3)
dist.destroy_process_group()
