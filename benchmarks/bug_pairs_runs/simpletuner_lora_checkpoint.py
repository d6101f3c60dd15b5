"""Train a LoRA on a small denoiser, save checkpoints by the project's hooks, and resume from the last one.

fix: d3a91e63
depth: live 60
expects: -
where: program
stands in: diffusers, peft and the project's base of models (a small transformer with its own LoRA, which is written and
  read with safetensors), the project's prompts
"""

import os
from types import SimpleNamespace

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from stand_ins import HERE, package, stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FILE = "pytorch_lora_weights.safetensors"


class LoraLinear(nn.Module):
    def __init__(self, linear, rank=4):
        super().__init__()
        self.base = linear.requires_grad_(False)
        self.lora_A = nn.Linear(linear.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x))


class Transformer(nn.Module):
    def __init__(self, size=64):
        super().__init__()
        layers = [LoraLinear(nn.Linear(size + 1, 128)), nn.GELU(), LoraLinear(nn.Linear(128, size))]
        self.layers = nn.Sequential(*layers)

    def forward(self, noisy, sigma):
        return self.layers(torch.cat([noisy, sigma], dim=1))


class Model:
    NAME, MODEL_CLASS, MODEL_SUBFOLDER = "Small", Transformer, "transformer"
    PIPELINE_CLASSES = {"text2img": object}

    def __init__(self):
        self.transformer = Transformer()

    def get_trained_component(self, unwrap_model=True):
        return self.transformer

    def get_text_encoder(self, index):
        return None

    def save_lora_weights(self, folder, transformer_lora_layers):
        os.makedirs(folder, exist_ok=True)
        tensors = {f"transformer.{name}": value.contiguous() for name, value in transformer_lora_layers.items()}
        save_file(tensors, os.path.join(folder, FILE), metadata={"format": "pt"})

    def load_lora_weights(self, models, folder):
        tensors = load_file(os.path.join(folder, FILE))
        while models:
            state = {name.removeprefix("transformer."): value for name, value in tensors.items()}
            models.pop().load_state_dict(state, strict=False)


def lora_state(model):
    return {name: value for name, value in model.state_dict().items() if "lora_" in name}


stand_in("diffusers.training_utils", _collate_lora_metadata=lambda modules: {})
stand_in("diffusers.utils", convert_state_dict_to_diffusers=lambda state, original_type: state)
stand_in("diffusers.utils.state_dict_utils", StateDictType=SimpleNamespace(PEFT="peft"))
stand_in("diffusers.utils.torch_utils", is_compiled_module=lambda module: False)
stand_in("diffusers.utils.deprecation_utils")
stand_in("peft")
stand_in("peft.utils", get_peft_model_state_dict=lora_state)
for name in ("simpletuner", "simpletuner/helpers", "simpletuner/helpers/training"):
    package(name.replace("/", "."), HERE / name)
stand_in("simpletuner.helpers.models.common", PipelineTypes=SimpleNamespace(TEXT2IMG="text2img"))
stand_in("simpletuner.helpers.prompts")
from simpletuner.helpers.training.save_hooks import SaveHookManager
from simpletuner.helpers.training.state_tracker import StateTracker

config = SimpleNamespace(
    model_type="lora", lora_type="standard", model_family="sd3", model_flavour="medium", resolution=64, use_ema=False,
    controlnet=False, validation_using_datasets=False, tracker_run_name="small-lora", output_dir="output",
)  # fmt: skip


def train(epochs, resume=None):
    torch.manual_seed(0)
    accelerator, model = Accelerator(cpu=True), Model()
    hooks = SaveHookManager(config, model, None, accelerator, use_deepspeed_optimizer=False)
    accelerator.register_save_state_pre_hook(hooks.save_model_hook)
    accelerator.register_load_state_pre_hook(hooks.load_model_hook)
    optimizer = torch.optim.AdamW([p for p in model.transformer.parameters() if p.requires_grad], lr=1e-3)
    loader = DataLoader(TensorDataset(torch.randn(42, 64)), batch_size=8, shuffle=True)
    transformer, optimizer, loader = accelerator.prepare(model.transformer, optimizer, loader)
    if resume:
        accelerator.load_state(resume)
    step = StateTracker.get_global_step()
    for epoch in range(StateTracker.get_epoch(), epochs + 1):
        StateTracker.set_epoch(epoch)
        for (latents,) in loader:
            sigma, noise = torch.rand(len(latents), 1), torch.randn_like(latents)
            prediction = transformer((1 - sigma) * latents + sigma * noise, sigma)
            loss = nn.functional.mse_loss(prediction, noise - latents)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            StateTracker.set_global_step(step)
            if step % 6 == 0:
                accelerator.save_state(f"output/checkpoint-{step}")
        print(f"epoch {epoch}: step {step}, loss {loss.item():.3f}")


train(epochs=2)
train(epochs=4, resume="output/checkpoint-12")
