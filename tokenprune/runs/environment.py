"""The environment of a run: versions, machine, source revision, and provenance of its images."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tokenprune

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "statsmodels", "pydantic", "safetensors")


def describe(device: str, threads: int, provenance: dict[str, Any]) -> dict[str, Any]:
    """The environment record. `device` is its name as torch gives it; `provenance` is the data set's."""
    program = Path(sys.argv[0]).name
    return {
        "tokenprune": tokenprune.__version__,
        "revision": _revision(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "device": device,
        "data": provenance,
        "command": ["tokenprune" if program == "__main__.py" else program, *sys.argv[1:]],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Commit of the source tree with + where it was changed; None for an installed package."""
    root = Path(tokenprune.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def processor() -> str:
    """The CPU's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
