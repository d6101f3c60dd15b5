"""Train the video tokenizer with the project's trainer on short videos of moving squares.

fix: dd86b76e
depth: live 60
expects: TW378
where: magvit2_pytorch/trainer.py
stands in: the lookup-free quantizer, torchvision (conversion to a picture), kornia's filter, cv2
needs: einops, beartype, ema_pytorch, gateloop_transformer, rotary_embedding_torch, accelerate
"""

from types import SimpleNamespace

import torch
from PIL import Image
from stand_ins import stand_in
from torch import nn
from torch.utils.data import Dataset


class VGG16_Weights:
    pass


VGG16_Weights.DEFAULT = VGG16_Weights()


class ToPILImage:
    def __call__(self, image):
        return Image.fromarray((image.permute(1, 2, 0) * 255).byte().numpy())


class LFQ(nn.Module):
    def __init__(self, *, dim, codebook_size, **kwargs):
        super().__init__()
        self.bits = codebook_size.bit_length() - 1
        self.project_in, self.project_out = nn.Linear(dim, self.bits), nn.Linear(self.bits, dim)

    def forward(self, x, return_loss_breakdown=False):
        z = self.project_in(x.movedim(1, -1))
        signs = torch.where(z > 0, 1.0, -1.0)
        codes = ((z > 0).long() << torch.arange(self.bits)).sum(-1)
        out = self.project_out(z + (signs - z).detach()).movedim(-1, 1)
        return (out, codes, nn.functional.mse_loss(z, signs)), None


def filter3d(x, kernel, **kwargs):
    weight = (kernel / kernel.abs().sum()).expand(x.shape[1], 1, *kernel.shape[1:])
    return nn.functional.conv3d(x, weight, padding=[size // 2 for size in kernel.shape[1:]], groups=x.shape[1])


stand_in("cv2")
stand_in("vector_quantize_pytorch", LFQ=LFQ)
stand_in("kornia.filters", filter3d=filter3d)
models = SimpleNamespace(VGG16_Weights=VGG16_Weights)
transforms = SimpleNamespace(ToPILImage=ToPILImage, ToTensor=lambda: None)
stand_in("torchvision", models=models, transforms=transforms)
stand_in("torchvision.models", VGG16_Weights=VGG16_Weights)

from magvit2_pytorch import VideoTokenizer, VideoTokenizerTrainer


class Squares(Dataset):
    def __len__(self):
        return 22

    def __getitem__(self, index):
        place = torch.Generator().manual_seed(index)
        top, left, step = torch.randint(0, 8, (3,), generator=place).tolist()
        video = 0.1 * torch.rand(3, 5, 16, 16, generator=place)
        for frame in range(5):
            start = (left + frame * (step // 3)) % 12
            video[index % 3, frame, top : top + 5, start : start + 5] = 0.9
        return video


torch.manual_seed(0)
features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 16))
tokenizer = VideoTokenizer(
    image_size=16,
    init_dim=16,
    codebook_size=256,
    layers=("residual", ("compress_space", 24), ("compress_time", 24), "residual"),
    vgg=features.requires_grad_(False),
    discr_kwargs={"dim": 16, "image_size": 16, "max_dim": 32},
    flash_attn=False,
)
trainer = VideoTokenizerTrainer(
    tokenizer, dataset=Squares(), batch_size=3, num_train_steps=12, learning_rate=1e-3, valid_frac=0.2,
    validate_every_step=5, checkpoint_every_step=10,
)  # fmt: skip
trainer.train()
