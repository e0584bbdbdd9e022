"""Which device, which precision, how many threads."""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
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


def available_memory() -> int:
    """Bytes that this process can still take without swapping: of the machine, and of its control group if it has one.

    Where the system does not say, half of the machine's memory.
    """
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = 1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:")))
    return min([found, *_limits()])


def _limits() -> Iterator[int]:
    """Limits of the control groups, version 1 and 2, that this process is in."""
    try:
        groups = [line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for kinds, name in groups:
        if kinds and "memory" not in kinds.split(","):
            continue
        root, file = ("memory", "memory.limit_in_bytes") if kinds else ("", "memory.max")
        for group in (Path(name.strip("/")), *Path(name.strip("/")).parents):
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                yield int(Path("/sys/fs/cgroup", root, group, file).read_text())


def room_for_images(device: torch.device) -> int | None:
    """Bytes of images that a GPU may hold, half of what is free; None where they need not move."""
    if device.type == "cpu":
        return None
    return (torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()) // 2


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
