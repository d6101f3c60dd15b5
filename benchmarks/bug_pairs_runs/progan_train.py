"""Train a small progressive GAN with the class of the project and its default loss.

fix: 603a7702
depth: live 60
expects: -
where: program
stands in: torchvision (the writing of samples), moving tensors to a GPU
"""

import torch
from stand_ins import stand_in
from torch.utils.data import Dataset


def save_image(images, path, **options):
    torch.save(images, path)


utils = stand_in("torchvision.utils", save_image=save_image)
stand_in("torchvision", utils=utils)
torch.Tensor.cuda = lambda tensor, *args, **options: tensor
from pro_gan_pytorch.PRO_GAN import ProGAN


class Pictures(Dataset):
    def __len__(self):
        return 18

    def __getitem__(self, index):
        return (torch.randn(3, 1, 1) * 0.3 + torch.rand(3, 16, 16) - 0.5).clamp(-1, 1)


gan = ProGAN(depth=3, latent_size=32, beta_1=0.0, device=torch.device("cpu"))
gan.train(
    dataset=Pictures(),
    epochs=[2, 2, 2],
    batch_sizes=[4, 4, 4],
    fade_in_percentage=[50, 50, 50],
    num_samples=4,
    num_workers=0,
    feedback_factor=2,
)
