"""A GPU that is not there: tensors that have a device, a shape and a type, and no numbers (torch's FakeTensorMode).

Whatever would fail on a real one because tensors of two devices meet, fails here; so does float64 where the device has
none, as Apple's. What the program reads from the device is zeros, and noted: each reading waits for a real GPU.
Backward passes are not run: gradients are zeros.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from tokenprune.data.randaugment import strength_of

_READ = {
    Tensor.item: np.ndarray.item,
    Tensor.tolist: np.ndarray.tolist,
    Tensor.numpy: np.ndarray.copy,
    Tensor.__bool__: bool,
    Tensor.__int__: int,
    Tensor.__float__: float,
    Tensor.__index__: int,
}


class Pretended(TorchFunctionMode):
    """reads: the names of what waited for the device, since it was cleared."""

    def __init__(self, doubles: bool) -> None:
        super().__init__()
        self.device = torch.device("cuda")
        self.doubles = doubles
        self.reads: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.autograd.grad:
            return tuple(map(torch.zeros_like, args[1:]))
        if func is Tensor.backward:
            return None
        if func in _READ or func is Tensor.cpu:
            self.reads += [func.__name__] if args[0].device.type == "cuda" else []
        if func in _READ:
            return _READ[func](np.zeros(tuple(args[0].shape), str(args[0].dtype).removeprefix("torch.")))
        found = self._moved(*args, **kwargs) if func is Tensor.to else func(*args, **kwargs)
        for each in found if isinstance(found, (tuple, list)) else (found,):
            if (
                not self.doubles
                and isinstance(each, Tensor)
                and (each.device.type, each.dtype) == ("cuda", torch.float64)
            ):
                raise TypeError("the MPS framework doesn't support float64")
        return found

    def _moved(self, tensor: Tensor, *to: Any, **kwargs: Any) -> Tensor:
        """`Tensor.to`, without the libraries of the device."""
        wanted = [*to, *kwargs.values()]
        device = next((torch.device(x) for x in wanted if isinstance(x, (str, torch.device))), tensor.device)
        dtype = next((x for x in wanted if isinstance(x, torch.dtype)), tensor.dtype)
        if device.type == tensor.device.type:
            return tensor.to(dtype)
        return torch.empty_strided(tensor.shape, tensor.stride(), device=device, dtype=dtype)

    def module(self, module: nn.Module, device: Any = None, *_: Any, **__: Any) -> nn.Module:
        """`Module.to`, which cannot move what has no numbers."""
        for each in module.modules():
            for name, parameter in each.named_parameters(recurse=False):
                moved = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
                each._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
            for name, buffer in each.named_buffers(recurse=False):
                each._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=device)
        return module


@contextmanager
def pretended(doubles: bool) -> Iterator[Pretended]:
    """doubles: whether the device knows float64."""
    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True), Pretended(doubles) as found:
        patch.setattr(nn.Module, "to", lambda self, *to, **kwargs: found.module(self, *to, **kwargs))
        yield found
    strength_of.cache_clear()  # numbers that were computed here are none
