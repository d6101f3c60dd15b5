"""What calls into torch and NumPy return."""

from __future__ import annotations

import dataclasses

from trainworthy.check.static.drawn import drawn
from trainworthy.check.static.facts import Call
from trainworthy.check.static.tensors import ACTIVATIONS, activation_kept, call_method, sizes
from trainworthy.check.static.values import (
    UNKNOWN,
    WRAPPERS,
    Const,
    Entries,
    EnvText,
    Instance,
    Parameters,
    Ref,
    Sequence,
    Shape,
    StateDict,
    Tensor,
    Value,
    join,
)

_CREATE = frozenset({"rand", "randn", "zeros", "ones", "empty"})
_LIKE = frozenset({"rand_like", "randn_like", "zeros_like", "ones_like", "empty_like", "full_like"})
_INT_CREATE = frozenset({"arange", "randint", "randperm"})
_ELEMENTWISE = frozenset(
    "exp log log1p expm1 abs sqrt tanh relu gelu silu sin cos clamp where isnan isinf square maximum minimum".split()
)
_OTHERS = frozenset(
    "eye tril triu diag logspace outer cumsum cumprod normal hann_window hamming_window blackman_window "
    "bartlett_window kaiser_window".split()
)
_LOSSES = frozenset(
    "cross_entropy nll_loss mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy kl_div "
    "binary_cross_entropy_with_logits poisson_nll_loss gaussian_nll_loss cosine_embedding_loss hinge_embedding_loss "
    "margin_ranking_loss triplet_margin_loss multi_margin_loss soft_margin_loss multilabel_soft_margin_loss".split()
)
_MODULE_RETURNS_SELF = frozenset(
    "to cuda cpu train eval half float double bfloat16 requires_grad_ apply type share_memory to_empty ipu xpu".split()
)
_RESHAPING_MODULES = frozenset({"Flatten", "Identity", "Unflatten"})


def is_module(value: Value) -> bool:
    """Say whether a value is surely a torch module."""
    if not isinstance(value, Instance):
        return False
    last = value.type.rpartition(".")[2]
    if value.type.startswith("torch.nn."):
        return last != "Parameter" and not value.type.startswith(("torch.nn.init.", "torch.nn.utils."))
    return value.type in ("lightning.LightningModule", "transformers.PreTrainedModel") or is_pretrained(value)


def is_pretrained(value: Value) -> bool:
    """Say whether a value is surely a network of torchvision, or another that has batch norm or dropout."""
    if not isinstance(value, Instance):
        return False
    library, _, name = value.type.rpartition(".")
    known = (
        library.startswith("torchvision.models")
        and "._" not in library
        and not name.startswith(("get_", "list_"))
        and not name.endswith("Weights")
    )
    return known or value.type == "pytorch_fid.inception.InceptionV3"


def is_optimizer(value: Value) -> bool:
    """Say whether a value is surely one of torch's optimizers."""
    return (
        isinstance(value, Instance)
        and value.type.startswith("torch.optim.")
        and value.type.count(".") == 2
        and value.type != "torch.optim.Optimizer"
    )


def is_scheduler(value: Value) -> bool:
    """Say whether a value is surely one of torch's schedulers."""
    return isinstance(value, Instance) and value.type.startswith("torch.optim.lr_scheduler.")


def is_loss_module(value: Value) -> bool:
    """Say whether a value is surely one of torch's loss modules."""
    return isinstance(value, Instance) and value.type.startswith("torch.nn.") and value.type.endswith("Loss")


def is_class_name(name: str) -> bool:
    """Say whether a name is written as classes are."""
    last = name.rpartition(".")[2]
    return last[:1].isupper() and (not last.isupper() or name.startswith("torch."))


def returned(name: str, call: Call) -> Value:
    """Return what calling a library's function or class returns."""
    library, _, last = name.rpartition(".")
    if library == "builtins":
        return _builtin(last, call)
    if library == "torch.nn" and last in ("Sequential", "ModuleList"):
        return Instance(type=name, made_by=call, attrs={"": _held(call, last)})
    if library in ("torch", "numpy", "numpy.random", "torch.nn.functional"):
        value = _function(library, last, call)
        if value is not None:
            return value
    if name in ("os.environ.get", "os.getenv"):
        key = call.constant(0, "key")
        return EnvText(key) if isinstance(key, str) else UNKNOWN
    fills = name.startswith("torch.nn.init.") and last.endswith("_")
    if (name in _SAME_OBJECT or fills) and call.args:
        return call.args[0]
    if name in _CONTEXTS:
        return Instance(type=name, made_by=call)
    if library == "torchvision.models" and last.islower() and not last.startswith(("get_", "list_")):
        return Instance(type="torch.nn.Module", made_by=call)
    if name in ("copy.deepcopy", "itertools.repeat") and call.args:
        return _again(last, call)
    if name in WRAPPERS:
        inner = call.argument(0, "module") or UNKNOWN
        return Instance(type=name, made_by=call, attrs={"module": inner})
    if name.startswith("tqdm.") and call.args:
        return Instance(type="tqdm.tqdm", made_by=call, attrs={"": call.args[0]})
    if is_class_name(name) or name.startswith(("torchvision.models.", "torchvision.datasets.")):
        return Instance(type=name, made_by=call)
    return UNKNOWN


_SAME_OBJECT = frozenset(
    {
        "torch.compile", "torch.jit.script", "torch.autograd.Variable", "torch.utils.data.Variable",
        "torch.nn.utils.weight_norm", "torch.nn.utils.spectral_norm", "torch.nn.utils.parametrizations.weight_norm",
        "torch.nn.utils.parametrizations.spectral_norm", "torch.nn.utils.parametrizations.orthogonal",
    }
)  # fmt: skip
_CONTEXTS = frozenset(
    {
        "torch.no_grad", "torch.inference_mode", "torch.enable_grad", "torch.set_grad_enabled", "torch.autocast",
        "torch.amp.autocast", "torch.cuda.amp.autocast", "torch.autograd.set_detect_anomaly",
        "torch.autograd.detect_anomaly",
    }
)  # fmt: skip


def _held(call: Call, last: str) -> Value:
    if last == "ModuleList":
        return call.args[0] if call.args else Sequence("list", ())
    return Sequence("list", None if call.starred else call.args)


def _again(name: str, call: Call) -> Value:
    """Return what `deepcopy` or `itertools.repeat` gives."""
    if name == "deepcopy":
        return _copied(call.args[0])
    return Sequence("list", None, call.node, call.args[0]) if len(call.args) == 2 and not call.starred else UNKNOWN


def _copied(value: Value) -> Value:
    if isinstance(value, Instance):
        return Instance(type=value.type, cls=value.cls, made_by=value.made_by, attrs=dict(value.attrs))
    if isinstance(value, StateDict):
        return UNKNOWN
    return dataclasses.replace(value, loss=False) if isinstance(value, Tensor) else value


def _builtin(name: str, call: Call) -> Value:
    first = call.args[0] if call.args else UNKNOWN
    if name == "filter" and len(call.args) == 2 and isinstance(call.args[1], Parameters):
        return Parameters(call.args[1].owner, call)  # a generator of its own
    if name in ("enumerate", "iter", "reversed", "zip"):
        return Instance(type=f"builtins.{name}", made_by=call, attrs={"": first})
    if name in ("list", "tuple") and isinstance(first, Sequence):
        return Sequence(name, first.items, first.node, first.element)  # type: ignore[arg-type]
    if name == "dict" and not call.args and not call.starred:
        return Sequence("dict", tuple(call.keywords.values()), call.node, entries=Entries(dict(call.keywords.items())))
    if name in ("list", "tuple", "set", "dict"):
        return Sequence(name, None if call.args else (), call.node)  # type: ignore[arg-type]
    if name == "str" and isinstance(first, EnvText):
        return first
    if name == "float" and isinstance(first, Const) and str(first.value).strip().lower() in ("nan", "+nan", "-nan"):
        return Ref("math.nan")
    if name == "abs" and isinstance(first, Tensor):
        return first
    return UNKNOWN


def _function(library: str, name: str, call: Call) -> Value | None:
    """Return the result of a function of torch, torch.nn.functional, numpy or numpy.random."""
    kind = "numpy.ndarray" if library.startswith("numpy") else "torch.Tensor"
    first = call.args[0] if call.args else UNKNOWN
    if name in ACTIVATIONS:
        shape = first.shape if isinstance(first, Tensor) else None
        return Tensor(shape=shape, dtype="float", activation=ACTIVATIONS[name], made_by=call)
    if name in _LOSSES and library == "torch.nn.functional":
        whole = call.constant(None, "reduction") != "none" and not call.has(None, "reduce")
        return Tensor(shape=() if whole else None, dtype="float", loss=True, made_by=call)
    if library == "numpy.random":
        return drawn(name, call)
    if name in _CREATE or name in ("full",):
        given = call.args if name != "full" else call.args[:1]
        shape = sizes((call.keywords["size"],)) if "size" in call.keywords else sizes(_shape_args(given, kind))
        return Tensor(library=kind, shape=shape, dtype=_dtype(call, "float"), made_by=call)  # type: ignore[arg-type]
    if name in ("exp", "log") and isinstance(first, Tensor) and first.activation is not None:
        return call_method(first, name, dataclasses.replace(call, args=call.args[1:]))
    if name in _LIKE or name in _ELEMENTWISE:
        return _same_shape(kind, name, first, call)
    if (name in _OTHERS and library == "torch") or name == "linear":
        return Tensor(made_by=call, layer=call if name == "linear" else None)
    if name in _INT_CREATE:
        return Tensor(library=kind, shape=_range_shape(name, call), dtype=None, made_by=call)  # type: ignore[arg-type]
    if name in ("tensor", "as_tensor", "array", "asarray", "from_numpy", "linspace"):
        return _converted(kind, name, first, call)
    if name in ("cat", "concat", "concatenate", "stack", "vstack", "hstack") and library in ("torch", "numpy"):
        return _put_together(first)
    if library in ("torch", "torch.nn.functional") and isinstance(first, Tensor) and name in _TENSOR_FUNCTIONS:
        return call_method(first, name, dataclasses.replace(call, args=call.args[1:]))
    return None


def _put_together(parts: Value) -> Value | None:
    """Return what `cat` or `stack` makes of parts that are all alike: its numbers are theirs, its sizes are not."""
    if not isinstance(parts, Sequence):
        return None
    values = parts.items if parts.items is not None else (parts.element,)
    joined: Value | None = None
    for one in values:
        if not isinstance(one, Tensor):
            return None
        joined = one if joined is None else join(joined, one)
    if not isinstance(joined, Tensor):
        return None
    return dataclasses.replace(joined, shape=None, made_by=joined.made_by if activation_kept(joined) else None)


_TENSOR_FUNCTIONS = frozenset(
    "squeeze unsqueeze flatten reshape transpose permute sum mean clone log exp sigmoid softmax detach dropout "
    "gt lt ge le eq ne add".split()
)


def _shape_args(args: tuple[Value, ...], kind: str) -> tuple[Value, ...]:
    # numpy.zeros(3, dtype): only the first is a size.
    return args if kind == "torch.Tensor" else args[:1]


def _dtype(call: Call, default: str | None) -> str | None:
    return default if not call.has(None, "dtype") else None


def _range_shape(name: str, call: Call) -> Shape | None:
    if name == "randint":
        size = call.argument(2, "size")
        return None if size is None else sizes((size,))
    if len(call.args) == 1 and isinstance(call.args[0], Const) and isinstance(call.args[0].value, int):
        return (call.args[0].value,)
    return (None,)


def _same_shape(kind: str, name: str, first: Value, call: Call) -> Value | None:
    if name in ("where", "maximum", "minimum") or not isinstance(first, Tensor):
        return Tensor(library=kind, made_by=call) if isinstance(first, Tensor) else None  # type: ignore[arg-type]
    dtype = "bool" if name.startswith("is") else "float"
    return Tensor(library=kind, shape=first.shape, dtype=dtype, made_by=call)  # type: ignore[arg-type]


def _converted(kind: str, name: str, first: Value, call: Call) -> Value:
    shape: Shape | None = None
    if isinstance(first, Sequence) and first.items is not None and not call.has(None, "ndmin"):
        inner = [one for one in first.items if isinstance(one, Const) and isinstance(one.value, int | float)]
        if first.items and len(inner) == len(first.items):  # an empty one is filled later, with anything
            shape = (len(inner),)
        elif not first.items and name == "tensor":
            shape = (0,)  # what something is joined to
    elif isinstance(first, Tensor):
        shape = first.shape
    elif name == "linspace":
        steps = call.constant(2, "steps" if kind == "torch.Tensor" else "num")
        shape = (steps if isinstance(steps, int) else None,)
    return Tensor(library=kind, shape=shape, dtype=None, made_by=call)  # type: ignore[arg-type]


def attribute_of_object(owner: Instance, name: str) -> Value | None:
    """Return a known attribute of a library's object."""
    if owner.type == "torch.distributions.Categorical" and name == "probs":
        return Tensor(dtype="float", activation="softmax", made_by=owner.made_by)
    return None


def method_result(owner: Instance, name: str, call: Call) -> Value:
    """Return what a method of a library's object returns."""
    if is_module(owner):
        if name in _MODULE_RETURNS_SELF:
            return owner
        if name in ("parameters", "named_parameters", "children", "modules"):
            return Parameters(owner, call) if "parameters" in name else UNKNOWN
        if name == "state_dict":
            return StateDict(owner, call)
    if name in _PREPARES.get(owner.type, ()) and call.args and not call.starred:
        return call.args[0] if len(call.args) == 1 else Sequence("tuple", call.args)
    if name == "state_dict" and is_optimizer(owner):
        return StateDict(owner, call)
    return UNKNOWN


# Objects of launchers that give back what they get, wrapped so that it is used in the same way.
_PREPARES = {
    "accelerate.Accelerator": ("prepare", "prepare_model", "prepare_optimizer", "prepare_data_loader", "unwrap_model"),
    "lightning.Fabric": ("setup", "setup_module", "setup_optimizers", "setup_dataloaders"),
    "lightning.fabric.Fabric": ("setup", "setup_module", "setup_optimizers", "setup_dataloaders"),
}


def module_output(owner: Instance, call: Call) -> Value:
    """Return what calling one of torch's modules returns."""
    last = owner.type.rpartition(".")[2]
    first = call.args[0] if call.args else UNKNOWN
    shape = first.shape if isinstance(first, Tensor) else None
    if is_loss_module(owner):
        made = owner.made_by
        whole = made is not None and made.constant(None, "reduction") != "none"
        return Tensor(shape=() if whole else None, dtype="float", loss=True, made_by=call)
    activation = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid", "Softmax2d": "softmax"}.get(
        last
    )
    if activation is not None:
        return Tensor(shape=shape, dtype="float", activation=activation, made_by=call)  # type: ignore[arg-type]
    if last in _RESHAPING_MODULES:
        return (
            first
            if last == "Identity"
            else dataclasses.replace(first, shape=None)
            if isinstance(first, Tensor)
            else UNKNOWN
        )
    if last == "Linear":
        return Tensor(shape=_linear_shape(owner, shape), dtype="float", made_by=call, layer=call)
    if last in ("Conv1d", "Conv2d", "Conv3d") and owner.type.count(".") == 2:
        return Tensor(dtype="float", made_by=call, layer=call)
    known = _torchvision_output(owner, call)
    if known is not None:
        return known
    if last in ("LSTM", "GRU", "RNN", "MultiheadAttention") or last.startswith(("Module", "Parameter")):
        return UNKNOWN
    return Tensor(dtype="float", made_by=call) if owner.type.count(".") == 2 else UNKNOWN


def _torchvision_output(owner: Instance, call: Call) -> Value | None:
    """Return what a network of torchvision gives: scores of classes, as they are."""
    made = owner.made_by.name if owner.made_by is not None else ""
    library, _, name = made.rpartition(".")
    if owner.attrs:
        return None  # its last layer may be another
    if library == "torchvision.models" and name.startswith(_CLASSIFIERS):
        return Tensor(dtype="float", made_by=call, layer=call)
    if made.startswith("torchvision.models.segmentation.") and name.islower():
        return Sequence("dict", None, entries=Entries({"out": Tensor(dtype="float", made_by=call, layer=call)}))
    return None


# Others give several outputs while they learn.
_CLASSIFIERS = (
    "resnet", "resnext", "wide_resnet", "vgg", "densenet", "alexnet", "squeezenet", "mobilenet", "shufflenet",
    "efficientnet", "regnet", "convnext", "vit_", "swin", "maxvit", "mnasnet",
)  # fmt: skip


def _linear_shape(owner: Instance, shape: Shape | None) -> Shape | None:
    if shape is None or owner.made_by is None:
        return None
    out = owner.made_by.constant(1, "out_features")
    return (*shape[:-1], out if isinstance(out, int) else None)
