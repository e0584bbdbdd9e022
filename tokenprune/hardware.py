"""Which device, which precision, how many threads."""

import resource
import sys
from typing import Literal

import torch

from tokenprune.errors import TokenpruneError

Precision = Literal["fp32", "bf16"]


def choose_device(wanted: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises TokenpruneError if the device is absent."""
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise TokenpruneError("device mps: torch sees no Apple GPU here; use --device cpu or auto")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TokenpruneError("device cuda: torch sees no CUDA device here; use --device cpu or auto")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """`auto` is bf16 where the hardware multiplies it natively, else fp32.

    Raises TokenpruneError for bf16 on mps, where it was never tried.
    """
    if device.type == "mps" and wanted == "bf16":
        raise TokenpruneError("train.precision bf16: on device mps only fp32 (or auto) is supported")
    if wanted == "auto":
        wanted = "bf16" if _fast_bf16(device) else "fp32"
    return "bf16" if wanted == "bf16" else "fp32"


def widest(device: torch.device) -> torch.dtype:
    """The widest float that a device has: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory(device: torch.device) -> int:
    """Most bytes held so far: on the GPU by torch, on a CPU by this process, images included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def set_threads(count: int | None) -> int:
    """Use `count` CPU threads, null leaves torch's choice; returns how many there are."""
    if count is not None:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def _fast_bf16(device: torch.device) -> bool:
    if device.type != "cpu":
        return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    # Emulated bf16 is slower than fp32, so ask for the instructions themselves; torch has no public question for it.
    return any(
        getattr(torch.cpu, name, lambda: False)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
