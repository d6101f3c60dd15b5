"""Train the video diffusion model with the project's trainer on small gifs, some of them focused on the present.

fix: fbb0ef5e
depth: live 60
expects: -
where: program
stands in: torchvision's transforms (the gifs have the right size), CUDA (stays on the CPU)
needs: einops, einops_exts, rotary_embedding_torch
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from stand_ins import stand_in

torch.Tensor.cuda = lambda self: self


class Compose:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, image):
        for step in self.steps:
            image = step(image)
        return image


class ToTensor:
    def __call__(self, image):
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


class ToPILImage:
    def __call__(self, image):
        return Image.fromarray((image.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy())


def keep(*args):
    return lambda image: image


stand_in("torchvision.utils")
stand_in(
    "torchvision.transforms", Compose=Compose, ToTensor=ToTensor, ToPILImage=ToPILImage, Resize=keep,
    CenterCrop=keep, Lambda=lambda function: function,
)  # fmt: skip

from video_diffusion_pytorch import GaussianDiffusion, Trainer, Unet3D

torch.manual_seed(0)
random = np.random.RandomState(0)
folder = Path("gifs")
folder.mkdir(exist_ok=True)
for i in range(11):
    frames = []
    left, top, step = random.randint(0, 6, 3)
    for frame in range(5):
        pixels = random.randint(0, 60, (16, 16, 3)).astype(np.uint8)
        start = (left + frame * step) % 11
        pixels[top : top + 5, start : start + 5, i % 3] = 230
        frames.append(Image.fromarray(pixels))
    frames[0].save(folder / f"{i}.gif", save_all=True, append_images=frames[1:], duration=100)

model = Unet3D(dim=16, dim_mults=(1, 2), attn_heads=2, attn_dim_head=16)
diffusion = GaussianDiffusion(model, image_size=16, num_frames=5, timesteps=20, loss_type="l1")
trainer = Trainer(
    diffusion, str(folder), num_frames=5, train_batch_size=4, train_lr=1e-3, train_num_steps=9, step_start_ema=4,
    update_ema_every=2, save_and_sample_every=8, num_sample_rows=2,
)  # fmt: skip
trainer.train(prob_focus_present=0.3)
