"""Pretrained weights: shapes come from the configuration, the values are unknown anyway.

Nothing is downloaded and no file of weights is read. A configuration is used if it is on this
machine, or if it belongs to one of a few models whose configuration is the default of its class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainworthy.virtual.effects_imports import when_imported

if TYPE_CHECKING:
    from trainworthy.virtual.effects import Effects

# name -> (model type of transformers, what differs from the class's defaults)
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "gpt2-medium": ("gpt2", {"n_embd": 1024, "n_layer": 24, "n_head": 16}),
    "gpt2-large": ("gpt2", {"n_embd": 1280, "n_layer": 36, "n_head": 20}),
    "gpt2-xl": ("gpt2", {"n_embd": 1600, "n_layer": 48, "n_head": 25}),
    "distilgpt2": ("gpt2", {"n_layer": 6}),
    "bert-base-uncased": ("bert", {}),
    "bert-base-cased": ("bert", {"vocab_size": 28996}),
    "bert-large-uncased": (
        "bert",
        {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    ),
    "distilbert-base-uncased": ("distilbert", {}),
    "roberta-base": (
        "roberta",
        {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
    ),
    "google/vit-base-patch16-224": ("vit", {}),
    "google/vit-base-patch16-224-in21k": ("vit", {}),
}


def install(effects: Effects) -> None:
    """Replace the loading of weights in torch, transformers, timm and safetensors."""
    when_imported("transformers.modeling_utils", lambda module: _patch_transformers(module, effects))
    when_imported("timm.models._builder", lambda module: _patch_timm(module, effects))
    when_imported("safetensors.torch", _patch_safetensors)
    _patch_torch(effects)


# --- torch.hub ----------------------------------------------------------------------------------


class PretrainedWeights(dict[str, Any]):
    """Stands for a state dict that was not loaded; ``load_state_dict`` accepts it for any module."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> PretrainedWeights:
        return self


def _patch_torch(effects: Effects) -> None:
    import torch

    load = torch.nn.Module.load_state_dict

    def load_state_dict(self: Any, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(state_dict, PretrainedWeights):
            return torch.nn.modules.module._IncompatibleKeys([], [])
        return load(self, state_dict, *args, **kwargs)

    def load_from_url(url: str, *args: Any, **kwargs: Any) -> PretrainedWeights:
        effects.note("weights", url)
        return PretrainedWeights()

    torch.nn.Module.load_state_dict = load_state_dict  # type: ignore[method-assign]
    torch.hub.load_state_dict_from_url = load_from_url
    when_imported("torchvision._internally_replaced_utils", lambda module: setattr(
        module, "load_state_dict_from_url", load_from_url))  # fmt: skip
    when_imported("torchvision.models._api", lambda module: setattr(
        module, "load_state_dict_from_url", load_from_url))  # fmt: skip


def _patch_timm(module: Any, effects: Effects) -> None:
    def load_pretrained(model: Any, *args: Any, **kwargs: Any) -> None:
        effects.note("weights", f"timm {type(model).__name__}")

    module.load_pretrained = load_pretrained


# --- transformers ---------------------------------------------------------------------------------


def _patch_transformers(module: Any, effects: Effects) -> None:
    original = module.PreTrainedModel.from_pretrained.__func__

    def from_pretrained(cls: Any, /, name: Any, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        found = _config_of(cls, name, config, kwargs)
        if found is None:
            return _explained(original, cls, name, args, {**kwargs, "config": config})
        effects.note("weights", f"{cls.__name__}.from_pretrained({str(name)!r})")
        dtype = kwargs.get("dtype", kwargs.get("torch_dtype"))
        options = {} if dtype in (None, "auto") else {"dtype": dtype}
        if kwargs.get("attn_implementation"):
            options["attn_implementation"] = kwargs["attn_implementation"]
        model = cls._from_config(found, **options)
        model.eval()
        device = kwargs.get("device_map")
        if device is not None:
            model.to("cuda" if device in ("auto", "balanced", "sequential") else _first_device(device))
        if kwargs.get("output_loading_info"):
            return model, {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": []}
        return model

    module.PreTrainedModel.from_pretrained = classmethod(from_pretrained)
    _patch_config(effects)


def _first_device(device_map: Any) -> Any:
    return next(iter(device_map.values())) if isinstance(device_map, dict) else device_map


def _config_of(cls: Any, name: Any, config: Any, kwargs: dict[str, Any]) -> Any:
    if config is not None and not isinstance(config, str):
        return config
    config_class = getattr(cls, "config_class", None)
    if config_class is None:
        return None
    changes = {k: v for k, v in kwargs.items() if k in _config_names(config_class)}
    try:
        return config_class.from_pretrained(name, **changes)
    except Exception:  # the original call then says what is missing
        return None


def _config_names(config_class: Any) -> set[str]:
    return set(vars(config_class())) | {"num_labels", "id2label", "label2id", "use_cache"}


def _patch_config(effects: Effects) -> None:
    """Know the configuration of some models without their files."""
    from transformers import AutoConfig, PretrainedConfig

    plain: Any = PretrainedConfig
    auto: Any = AutoConfig
    original, automatic = plain.from_pretrained.__func__, auto.from_pretrained.__func__

    def known(cls: Any, name: Any, kwargs: dict[str, Any]) -> Any:
        found = _CONFIGS.get(str(name).removeprefix("openai-community/").removeprefix("google-bert/"))
        if found is None:
            return None
        kind, values = found
        names = _config_names(type(AutoConfig.for_model(kind)))
        options = {k: v for k, v in kwargs.items() if k in names}
        effects.note("weights", f"configuration of {name!r}: the defaults of its class")
        return AutoConfig.for_model(kind, **{**values, **options})

    def from_pretrained(cls: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(cls, name, *args, **kwargs)
        except OSError:
            config = known(cls, name, kwargs)
            if config is None:
                raise
            return (config, {}) if kwargs.get("return_unused_kwargs") else config

    def auto_from_pretrained(cls: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return automatic(cls, name, *args, **kwargs)
        except OSError:
            config = known(cls, name, kwargs)
            if config is None:
                raise
            return (config, {}) if kwargs.get("return_unused_kwargs") else config

    plain.from_pretrained = classmethod(from_pretrained)
    auto.from_pretrained = classmethod(auto_from_pretrained)


def _explained(original: Any, cls: Any, name: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    try:
        return original(cls, name, *args, **kwargs)
    except OSError as error:
        error.trainworthy_fix = (  # type: ignore[attr-defined]
            f"A rehearsal needs only the configuration of {name!r}: fetch its config.json into the cache once "
            f"(AutoConfig.from_pretrained({str(name)!r}) with network), or build the model from a configuration."
        )
        raise


# --- safetensors ----------------------------------------------------------------------------------


def _patch_safetensors(module: Any) -> None:
    """Files of virtual tensors hold shapes: torch's own format takes the place of safetensors."""
    import torch

    from trainworthy.virtual.tensors import is_virtual

    save, load = module.save_file, module.load_file

    def save_file(tensors: dict[str, Any], filename: Any, *args: Any, **kwargs: Any) -> None:
        if any(is_virtual(tensor) for tensor in tensors.values()):
            torch.save(dict(tensors), filename)
        else:
            save(tensors, filename, *args, **kwargs)

    def load_file(filename: Any, *args: Any, **kwargs: Any) -> Any:
        with open(filename, "rb") as file:  # noqa: PTH123
            if file.read(2) == b"PK":
                return torch.load(filename)
        return load(filename, *args, **kwargs)

    module.save_file, module.load_file = save_file, load_file
