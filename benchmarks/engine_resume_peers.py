"""Runs of one training engine, as its documentation shows it: undisturbed, killed in step 57, and continued.

Started by ``engine_resume`` for each peer: ``python -m benchmarks.engine_resume_peers PEER FOLDER``. All train the same
model on the same data with the same settings and save every 10 steps; each training step notes which samples it got.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, Dataset

from benchmarks.engine_resume_task import (
    BATCH,
    EPOCHS,
    EVERY,
    LIMIT_S,
    PEERS,
    RUN,
    STEPS,
    Data,
    Net,
    finish,
    hand_step,
    make,
    newest,
    note,
    peer,
    save_by_hand,
    seed,
)

warnings.filterwarnings("ignore")


@peer("hand-written loop, skips batches")
def bare_skip() -> None:
    """The common hand-written loop: save model, optimizer, schedule, step and generator; skip the batches seen."""
    seed()
    model, optimizer, schedule = make()
    loader = DataLoader(Data(), BATCH, shuffle=True, num_workers=RUN.workers)
    step = 0
    if RUN.resumes:
        saved = torch.load(newest("ck-*.pt"), weights_only=False)
        model.load_state_dict(saved["m"]), optimizer.load_state_dict(saved["o"]), schedule.load_state_dict(saved["s"])
        step = saved["step"]
        torch.set_rng_state(saved["rng"])
    for epoch in range(step // STEPS, EPOCHS):
        for place, (x, y, indices) in enumerate(loader):
            if epoch * STEPS + place < step:
                continue
            note(step, indices)
            hand_step(model, optimizer, schedule, x, y)
            step += 1
            save_by_hand(step, m=model, o=optimizer, s=schedule)


@peer("hand-written loop, StatefulDataLoader")
def bare_stateful() -> None:
    from torchdata.stateful_dataloader import StatefulDataLoader

    seed()
    model, optimizer, schedule = make()
    loader = StatefulDataLoader(Data(), BATCH, shuffle=True, num_workers=RUN.workers)
    step, rng = 0, None
    if RUN.resumes:
        saved = torch.load(newest("ck-*.pt"), weights_only=False)
        model.load_state_dict(saved["m"]), optimizer.load_state_dict(saved["o"]), schedule.load_state_dict(saved["s"])
        loader.load_state_dict(saved["l"])
        step, rng = saved["step"], saved["rng"]
    while step < STEPS * EPOCHS:
        batches = iter(loader)
        if rng is not None:  # after iter(), which draws
            torch.set_rng_state(rng)
            rng = None
        for x, y, indices in batches:
            note(step, indices)
            hand_step(model, optimizer, schedule, x, y)
            step += 1
            save_by_hand(step, m=model, o=optimizer, s=schedule, l=loader)


def _lightning(loader_class: Any) -> None:
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint

    pl.seed_everything(0, workers=True)

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def training_step(self, batch: Any, _: int) -> Any:
            x, y, indices = batch
            note(self.trainer.global_step, indices)
            return F.cross_entropy(self.net(x), y)

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS * EPOCHS)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    module = Module()
    saver = ModelCheckpoint(RUN.folder, filename="ck-{step}", every_n_train_steps=EVERY, save_top_k=-1)
    trainer = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", devices=1, logger=False, default_root_dir=RUN.folder,
        gradient_clip_val=1.0, enable_progress_bar=False, callbacks=[saver],
    )  # fmt: skip
    loader = loader_class(Data(), BATCH, shuffle=True, num_workers=RUN.workers)
    trainer.fit(module, loader, ckpt_path=newest("ck-*.ckpt") if RUN.resumes else None, weights_only=False)
    finish(module.net)


@peer("Lightning")
def lightning() -> None:
    _lightning(DataLoader)


@peer("Lightning, StatefulDataLoader")
def lightning_stateful() -> None:
    from torchdata.stateful_dataloader import StatefulDataLoader

    _lightning(StatefulDataLoader)


def _accelerate(*, stateful: bool, seedable: bool) -> None:
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration, set_seed

    set_seed(0)
    config = DataLoaderConfiguration(use_stateful_dataloader=stateful, use_seedable_sampler=seedable)
    accelerator = Accelerator(cpu=True, dataloader_config=config)
    loader = DataLoader(Data(), BATCH, shuffle=True, num_workers=RUN.workers)
    model, optimizer, schedule, loader = accelerator.prepare(*make(), loader)
    step, resumes = 0, RUN.resumes
    if resumes:
        path = newest("ck-*")
        accelerator.load_state(str(path))
        step = int(path.name.split("-")[-1])
    for epoch in range(step // STEPS, EPOCHS):
        if hasattr(loader, "set_epoch"):
            loader.set_epoch(epoch)
        skips = resumes and not stateful
        for x, y, indices in accelerator.skip_first_batches(loader, step % STEPS) if skips else loader:
            with accelerator.accumulate(model):
                note(step, indices)
                accelerator.backward(F.cross_entropy(model(x), y))
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step(), schedule.step(), optimizer.zero_grad()
            step += 1
            if step % EVERY == 0:
                accelerator.save_state(str(RUN.folder / f"ck-{step}"))
        resumes = False
    finish(accelerator.unwrap_model(model))


@peer("Accelerate, skip_first_batches")
def accelerate() -> None:
    _accelerate(stateful=False, seedable=False)


@peer("Accelerate, skip_first_batches, seedable sampler")
def accelerate_seedable() -> None:
    _accelerate(stateful=False, seedable=True)


@peer("Accelerate, stateful loader")
def accelerate_stateful() -> None:
    _accelerate(stateful=True, seedable=False)


@peer("Accelerate, stateful loader, seedable sampler")
def accelerate_stateful_seedable() -> None:
    _accelerate(stateful=True, seedable=True)


@peer("HF Trainer")
def hf_trainer() -> None:
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        str(RUN.folder / "hf"), num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, use_cpu=True,
        remove_unused_columns=False, report_to=[], seed=0, learning_rate=1e-2, lr_scheduler_type="cosine",
        max_grad_norm=1.0, save_strategy="steps", save_steps=EVERY, disable_tqdm=True,
        dataloader_num_workers=RUN.workers,
    )  # fmt: skip
    trainer: Any = None
    Net.trainer_step = lambda self: trainer.state.global_step  # type: ignore[method-assign, assignment]
    trainer = Trainer(model_init=Net, args=arguments, train_dataset=Data(as_dict=True))
    trainer.train(resume_from_checkpoint=RUN.resumes)
    finish(trainer.model)


def _ignite(engine_class: Any) -> None:
    from ignite.engine import Events
    from ignite.handlers import Checkpoint, DiskSaver
    from ignite.utils import manual_seed

    manual_seed(0)
    model, optimizer, schedule = make()

    def update(engine: Any, batch: Any) -> None:
        x, y, indices = batch
        note(engine.state.iteration - 1, indices)
        hand_step(model, optimizer, schedule, x, y)

    trainer = engine_class(update)
    parts = {"m": model, "o": optimizer, "s": schedule, "tr": trainer}
    saver = Checkpoint(parts, DiskSaver(str(RUN.folder), require_empty=False), n_saved=None, filename_prefix="ck")
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=EVERY), saver)
    if RUN.resumes:
        Checkpoint.load_objects(parts, torch.load(newest("ck_*.pt"), weights_only=False))
    trainer.run(DataLoader(Data(), BATCH, shuffle=True, num_workers=RUN.workers), max_epochs=EPOCHS)
    finish(model)


@peer("Ignite")
def ignite() -> None:
    from ignite.engine import Engine

    _ignite(Engine)


@peer("Ignite, DeterministicEngine")
def ignite_deterministic() -> None:
    from ignite.engine import DeterministicEngine

    _ignite(DeterministicEngine)


@peer("hand-written loop, stateless")
def bare_stateless() -> None:
    """The idea alone: order = f(seed, epoch), augmentation = f(seed, epoch, index), dropout = f(seed, step)."""
    seed()
    model, optimizer, schedule = make()
    data = Data()

    class Fold(Dataset[Any]):
        def __getitem__(self, key: tuple[int, int]) -> Any:
            epoch, index = key
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed((epoch << 32) + index)
                return data[index]

    class Order(BatchSampler):
        def __init__(self, start: int) -> None:
            self.start = start

        def __iter__(self) -> Any:
            for epoch in range(self.start // STEPS, EPOCHS):
                order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1000 + epoch)).tolist()
                for place in range(max(0, self.start - epoch * STEPS), STEPS):
                    yield [(epoch, index) for index in order[place * BATCH : (place + 1) * BATCH]]

    step = 0
    if RUN.resumes:
        saved = torch.load(newest("ck-*.pt"), weights_only=False)
        model.load_state_dict(saved["m"]), optimizer.load_state_dict(saved["o"]), schedule.load_state_dict(saved["s"])
        step = saved["step"]
    for x, y, indices in DataLoader(Fold(), batch_sampler=Order(step), num_workers=RUN.workers):
        note(step, indices)
        torch.manual_seed(10_000_000 + step)
        hand_step(model, optimizer, schedule, x, y)
        step += 1
        save_by_hand(step, m=model, o=optimizer, s=schedule)


@peer("trainworthy")
def trainworthy() -> None:
    from trainworthy.train.engine import train
    from trainworthy.train.recipe import Loss, Phase, Recipe, TrainOptions

    step = [0]

    def loss(model: nn.Module, batch: Any) -> Loss:
        x, y, indices = batch
        note(step[0], indices)
        step[0] += 1
        return Loss.of_mean(F.cross_entropy(model(x), y), weight=len(y))

    if RUN.resumes:
        step[0] = int(newest("checkpoints/step-*").name.split("-")[-1])
    kept: list[nn.Module] = []
    recipe = Recipe(
        model=Net,
        phases=(
            Phase(
                loss=loss,
                optimizer=lambda named: torch.optim.AdamW([each for _, each in named], lr=1e-2),
                schedule=lambda step, steps: 0.5 * (1 + np.cos(np.pi * step / steps)),
                clip_norm=1.0,
            ),
        ),
        train_data=Data(),
        finish=lambda model: kept.append(model) or {},  # type: ignore[func-returns-value]
        options=TrainOptions(
            epochs=EPOCHS, batch_size=BATCH, checkpoint_every=EVERY, keep_checkpoints=99, workers=RUN.workers,
            tensorboard=False, device="cpu",
        ),
    )  # fmt: skip
    train(recipe, folder=RUN.folder, quiet=True)
    finish(kept[0])


PRELOADED = {
    "Lightning": "lightning.pytorch", "Accelerate": "accelerate", "HF": "transformers", "Ignite": "ignite.engine",
    "trainworthy": "trainworthy.train.engine",
}  # fmt: skip


def in_child(name: str, case: str, folder: Path, mode: str) -> int:
    """Run a peer once, in a fork of this process, and return what it left with."""
    folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        signal.alarm(LIMIT_S)
        errors = os.open(folder / "errors", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(errors, 1), os.dup2(errors, 2)
        RUN.case, RUN.folder, RUN.mode = case, folder, mode
        with (folder / "log.jsonl").open("a", buffering=1) as RUN.log:
            PEERS[name]()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Run a peer in every case: undisturbed, the same again, killed, and continued."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    importlib.import_module("torch._dynamo")  # the first optimizer imports it
    if name.split(",")[0].split(" ")[0] in PRELOADED:  # once, instead of in each of 16 processes
        importlib.import_module(PRELOADED[name.split(",")[0].split(" ")[0]])
    for case in "ABCD":
        in_child(name, case, folder / case / "whole", "whole")
        in_child(name, case, folder / case / "again", "whole")
        in_child(name, case, folder / case / "killed", "kill")
        shutil.copy(folder / case / "killed" / "log.jsonl", folder / case / "log-until-killed.jsonl")
        in_child(name, case, folder / case / "killed", "resume")


if __name__ == "__main__":
    main()
