"""Full names: where libraries export one thing under several, the shortest public one is used everywhere."""

from __future__ import annotations

from functools import lru_cache

_PREFIXES = (
    ("torch.nn.functional.", "torch.nn.functional."),
    ("torch.optim.lr_scheduler.", "torch.optim.lr_scheduler."),
    ("torch.optim.swa_utils.", "torch.optim.swa_utils."),
    ("torch.nn.parallel.distributed.", "torch.nn.parallel."),
    ("torch.nn.parallel.data_parallel.", "torch.nn.parallel."),
    ("torch.utils.data.distributed.", "torch.utils.data."),
    ("torch.utils.data.dataloader.", "torch.utils.data."),
    ("torch.utils.data.dataset.", "torch.utils.data."),
    ("torch.utils.data.sampler.", "torch.utils.data."),
    ("torch.distributed.distributed_c10d.", "torch.distributed."),
    ("torch.utils.tensorboard.writer.", "torch.utils.tensorboard."),
    ("tensorboardX.", "torch.utils.tensorboard."),
    ("pytorch_lightning.", "lightning."),
    ("lightning.pytorch.", "lightning."),
    ("numpy.core.", "numpy."),
)
_EXACT = {
    "torch.nn.DataParallel": "torch.nn.DataParallel",
    "torch.nn.parallel.DataParallel": "torch.nn.DataParallel",
    "torch.nn.parameter.Parameter": "torch.nn.Parameter",
    "torch.multiprocessing.spawn.spawn": "torch.multiprocessing.spawn",
    "torch.autograd.grad_mode.no_grad": "torch.no_grad",
    "torch.autograd.no_grad": "torch.no_grad",
    "torch.distributions.categorical.Categorical": "torch.distributions.Categorical",
    "torch.autograd.variable.Variable": "torch.autograd.Variable",
    "torch.FloatTensor": "torch.FloatTensor",
    "numpy.NaN": "numpy.nan",
    "numpy.NAN": "numpy.nan",
    "numpy.concatenate": "numpy.concatenate",
    "os.getenv": "os.environ.get",
    "apex.parallel.DistributedDataParallel": "torch.nn.parallel.DistributedDataParallel",
}
_MODULE_FOLDERS = ("torch.nn.modules.", "torch.optim.")


@lru_cache(maxsize=8192)
def canonical(name: str) -> str:
    """Return the name that rules use.

    >>> canonical("torch.nn.modules.loss.CrossEntropyLoss"), canonical("torch.optim.adam.Adam")
    ('torch.nn.CrossEntropyLoss', 'torch.optim.Adam')
    """
    found = _EXACT.get(name)
    if found is not None:
        return found
    for prefix, short in _PREFIXES:
        if name.startswith(prefix):
            return short + name[len(prefix) :]
    for folder in _MODULE_FOLDERS:
        if name.startswith(folder):
            last = name.rpartition(".")[2]
            if last[:1].isupper():
                return f"{'torch.nn' if 'nn' in folder else 'torch.optim'}.{last}"
    return name
