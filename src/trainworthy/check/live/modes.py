"""The stack of torch's function modes."""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode


def is_innermost(mode: TorchFunctionMode) -> bool:
    """Tell whether ``mode`` is the innermost function mode."""
    depth = torch._C._len_torch_function_stack()
    return depth > 0 and torch._C._get_function_stack_at(depth - 1) is mode


def remove_mode(mode: TorchFunctionMode) -> None:
    """Take a mode off the stack, wherever on it it is."""
    above = []
    while torch._C._len_torch_function_stack():
        top = torch._C._pop_torch_function_stack()
        if top is mode:
            break
        above.append(top)
    for each in reversed(above):
        torch._C._push_on_torch_function_stack(each)
