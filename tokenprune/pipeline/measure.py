"""From a finished run to a measurement of its model."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tokenprune import hardware, measurements
from tokenprune.data import test_batches
from tokenprune.errors import TokenpruneError, unknown
from tokenprune.identity import digest
from tokenprune.pipeline.prepare import prepare_run
from tokenprune.recipe import read_resolved
from tokenprune.runs import MeasureResult, RunFolder, atomic, read_result, save_result


def measure_run(
    run: RunFolder,
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    data_dir: Path | None = None,
    force: bool = False,
    say: Callable[[str], None] | None = None,
) -> tuple[Path, MeasureResult]:
    """A measurement of a finished run's model on its test images, and its folder; one that exists is read, not redone.

    options: keyword arguments of the measurement. say: takes lines about images, before anything is slow.

    Raises TokenpruneError where the run is not finished, its weights or images are not those it was trained with, or
    the result cannot be saved; UsageError for a measurement that is unknown or does not apply.
    """
    if name not in measurements.MEASUREMENTS:
        raise unknown("measurement", name, measurements.MEASUREMENTS)
    options, trained = dict(options or {}), run.result()
    run.check_recipe()
    folder = run.measurements / f"{name}-{digest([options, trained.precision])}"
    if force or not (folder / "result.json").is_file():
        with run.lock():
            prepared = prepare_run(run, read_resolved(run.resolved), device, data_dir, say=say)
            model, dataset, where = prepared.model.eval(), prepared.dataset, prepared.device
            batches = test_batches(dataset, prepared.recipe.evaluate.batch_size, model.patch_size)
            with torch.no_grad(), torch.autocast(where.type, torch.bfloat16, enabled=trained.precision == "bf16"):
                arrays = measurements.measure(name, model, batches, options)
            result = MeasureResult(
                run=run.name,
                measurement=name,
                options=options,
                precision=trained.precision,
                device=hardware.device_name(where),
                weights_sha256=trained.weights_sha256,
                arrays=arrays,
            )
            atomic.make_folder(folder)
            save_result(folder / "result.json", result)
    result = read_result(folder / "result.json", MeasureResult)
    if (result.run, result.weights_sha256) != (run.name, trained.weights_sha256):
        raise TokenpruneError(f"{folder}: measured on other weights than those of {run.name}; --force measures again")
    return folder, result
