"""Train the project's small diffusion network in half precision with its mixed-precision trainer.

fix: 22e0df81
depth: live 60
expects: -
where: program
"""

import tempfile

import torch
from guided_diffusion import logger
from guided_diffusion.fp16_util import MixedPrecisionTrainer
from guided_diffusion.resample import UniformSampler
from guided_diffusion.script_util import create_gaussian_diffusion
from guided_diffusion.unet import UNetModel
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
logger.configure(dir=tempfile.mkdtemp(), format_strs=["stdout"])
colours = torch.rand(32, 3, 1, 1) * 2 - 1
wave = torch.sin(torch.linspace(0, 6, 8) + 3 * torch.rand(32, 1))
data = DataLoader(
    TensorDataset(torch.tanh(2 * colours * wave[:, None, :, None].expand(-1, -1, -1, 8))), 8, shuffle=True
)

diffusion = create_gaussian_diffusion(steps=1000)
sampling = create_gaussian_diffusion(steps=1000, timestep_respacing="20")
model = UNetModel(
    image_size=8, in_channels=3, model_channels=32, out_channels=3, num_res_blocks=1, attention_resolutions=(2,),
    channel_mult=(1, 2), num_heads=2, use_fp16=True,
)  # fmt: skip
mp_trainer = MixedPrecisionTrainer(model=model, use_fp16=True, initial_lg_loss_scale=10)
optimizer = AdamW(mp_trainer.master_params, lr=5e-4, weight_decay=0.0)
sampler = UniformSampler(diffusion)

for epoch in range(3):
    model.train()
    total = 0.0
    for (pictures,) in data:
        t, weights = sampler.sample(len(pictures), torch.device("cpu"))
        mp_trainer.zero_grad()
        losses = diffusion.training_losses(model, pictures, t)
        loss = (losses["loss"] * weights).mean()
        mp_trainer.backward(loss)
        mp_trainer.optimize(optimizer)
        total += loss.item() * len(pictures)
    print(f"epoch {epoch}: loss {total / len(data.dataset):.4f}")
    logger.dumpkvs()

model.eval()
with torch.no_grad():
    sample = sampling.p_sample_loop(model, (2, 3, 8, 8), device=torch.device("cpu"))
print("sample", sample.mean().item(), sample.std().item())
