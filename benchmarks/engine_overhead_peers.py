"""The peers of ``engine_overhead``, each as its documentation writes it, with the same work switched on.

Only what is installed is measured: ``pip install accelerate lightning transformers pytorch-ignite``.
"""

from __future__ import annotations

import importlib.metadata
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

_main: Any = sys.modules["__main__"]  # the benchmark is run as a program; its names must not be loaded twice
if not hasattr(_main, "ENGINES"):
    from benchmarks import engine_overhead as _main

BATCH, IGNORED, LOG_EVERY = _main.BATCH, _main.IGNORED, _main.LOG_EVERY
items, loss_sum = _main.items, _main.loss_sum


def load() -> dict[str, str]:
    """Register the peers that are installed; return their names with their versions."""
    found = {}
    for name, (package, function) in _PEERS.items():
        try:
            found[name] = f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue
        _main.engine(name)(function)
    return found


def _finite(*values: float) -> None:
    if not all(math.isfinite(value) for value in values):
        raise FloatingPointError


def accelerate(job: Any) -> None:
    """The loop of Accelerate's documentation with accumulate(), weighted as its guide on accumulation says."""
    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

    class File(GeneralTracker):  # type: ignore[misc]
        name, requires_logging_directory, main_process_only = "file", False, True

        def __init__(self) -> None:
            super().__init__()
            self.file = (job.folder / "log").open("w")

        tracker = property(lambda self: self.file)

        def store_init_configuration(self, values: Any) -> None:
            pass

        def log(self, values: Any, step: int | None = None, **_: Any) -> None:
            self.file.write(f"{step} {values}\n")
            self.file.flush()

    accelerator = Accelerator(cpu=True, log_with=File())
    accelerator.init_trackers("overhead")
    optimizer = job.optimizer(job.net)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, job.factor)
    model, optimizer, loader, scheduler = accelerator.prepare(job.net, optimizer, job.loader(), scheduler)
    for step, batch in enumerate(loader, 1):
        with accelerator.accumulate(model):
            loss = loss_sum(model, batch) / items(batch)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                norm = accelerator.clip_grad_norm_(model.parameters(), 1.0)
                _finite(loss.item(), norm.item())
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        if step % LOG_EVERY == 0:
            accelerator.log({"loss": loss.item(), "norm": norm.item(), "lr": scheduler.get_last_lr()[0]}, step=step)
    accelerator.free_memory()


def lightning(job: Any) -> None:
    """Automatic optimisation, CSV logger, everything that is not asked for switched off."""
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import CSVLogger

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = job.net

        def training_step(self, batch: Any, _: int) -> Any:
            loss = loss_sum(self.net, batch) / items(batch)
            _finite(loss.item())
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = job.optimizer(self)
            scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, job.factor)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, logger=CSVLogger(job.folder), log_every_n_steps=LOG_EVERY,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, gradient_clip_val=1.0,
    )  # fmt: skip
    trainer.fit(Module(), job.loader())


def hf_trainer(job: Any) -> None:
    """Trainer with a loss function that takes the number of items, its way to weight by tokens."""
    from transformers import Trainer, TrainingArguments

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = job.net

        def forward(self, x: Any, labels: Any = None) -> Any:
            return {"logits": self.net(x)}

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        total = F.cross_entropy(outputs["logits"], labels, reduction="sum", ignore_index=IGNORED)
        value = total / (num_items_in_batch if num_items_in_batch is not None else items((None, labels)))
        _finite(value.item())
        return value

    class Loaded(Trainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            return self.accelerator.prepare(job.loader(as_dict=True))

    arguments = TrainingArguments(
        str(job.folder), max_steps=job.steps, per_device_train_batch_size=BATCH, use_cpu=True, report_to=[],
        remove_unused_columns=False, disable_tqdm=True, max_grad_norm=1.0, save_strategy="no", logging_steps=LOG_EVERY,
        logging_nan_inf_filter=False,
    )  # fmt: skip
    model = Wrapped()
    optimizer = job.optimizer(model)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, job.factor)
    data = _main.Batches(job.steps, as_dict=True)
    trainer = Loaded(
        model=model, args=arguments, train_dataset=data, optimizers=(optimizer, scheduler), compute_loss_func=loss
    )
    trainer.train()


def ignite(job: Any) -> None:
    """An update function that does the step, and handlers for the schedule, the guard and the log."""
    from ignite.engine import Engine, Events
    from ignite.handlers import TerminateOnNan
    from ignite.handlers.param_scheduler import LRScheduler

    model = job.net
    optimizer = job.optimizer(model)

    def update(_: Any, batch: Any) -> dict[str, float]:
        model.train()
        optimizer.zero_grad()
        loss = loss_sum(model, batch) / items(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.item(), "norm": norm.item()}

    trainer = Engine(update)
    schedule = LRScheduler(torch.optim.lr_scheduler.LambdaLR(optimizer, job.factor))
    trainer.add_event_handler(Events.ITERATION_STARTED, schedule)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    with (job.folder / "log").open("w") as file:

        @trainer.on(Events.ITERATION_COMPLETED(every=LOG_EVERY))
        def log(running: Any) -> None:
            file.write(f"{running.state.iteration} {running.state.output} {optimizer.param_groups[0]['lr']}\n")
            file.flush()

        trainer.run(job.loader(), max_epochs=1)


_PEERS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "accelerate": ("accelerate", accelerate),
    "lightning": ("lightning", lightning),
    "hf_trainer": ("transformers", hf_trainer),
    "ignite": ("pytorch-ignite", ignite),
}
