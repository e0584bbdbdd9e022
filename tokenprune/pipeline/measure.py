"""From a finished run to a measurement of its model."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tokenprune import hardware, measurements
from tokenprune.errors import TokenpruneError
from tokenprune.identity import digest
from tokenprune.measurements.subject import Subject
from tokenprune.pipeline.prepare import DatasetCache, Prepared, prepare_run
from tokenprune.pipeline.prune import learned
from tokenprune.recipe import read_resolved
from tokenprune.runs import MeasureResult, PruneResult, RunFolder, atomic, processor, read_result, save_result


def measure_run(
    run: RunFolder,
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    data_dir: Path | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] | None = None,
    cache: DatasetCache | None = None,
) -> tuple[Path, MeasureResult]:
    """A measurement of a finished run's model on its test images, and its folder; one that exists is read, not redone.

    options: keyword arguments of the measurement. progress: called with what is done and its total. say: takes lines
    about images, before anything is slow. cache: images kept from run to run.

    One that depends on the run's curves, or is timed, is made anew, beside the earlier one, where these or the machine
    changed.

    Raises TokenpruneError where the run is not finished, its weights or images are not those it was trained with, or
    the result cannot be saved; UsageError for a measurement that is unknown or does not apply.
    """
    timed = measurements.timed(name)
    options, trained = dict(options or {}), run.result()
    run.check_recipe()
    recipe = read_resolved(run.resolved)
    identity: list[Any] = [options, trained.precision]
    if timed:
        where = hardware.device_name(hardware.choose_device(device or recipe.run.device))
        identity += [where, processor(), hardware.set_threads(recipe.run.threads), str(torch.__version__)]
    if timed or {"methods", "keep", "site"} & options.keys():  # what is not said of these is as in the run's curves
        identity.append([path.name for path in run.prune_folders()])
    folder = run.measurements / f"{name}-{digest(identity)}"
    if force or not (folder / "result.json").is_file():
        with run.lock():
            prepared = prepare_run(run, recipe, device, data_dir, cache, say=say)
            subject = subject_of(run, prepared, trained.precision, progress, data_dir)
            autocast = torch.autocast(prepared.device.type, torch.bfloat16, enabled=trained.precision == "bf16")
            with torch.no_grad(), autocast:
                arrays = measurements.measure(name, subject, options)
            result = MeasureResult(
                run=run.name,
                measurement=name,
                options=options,
                precision=trained.precision,
                device=hardware.device_name(prepared.device),
                weights_sha256=trained.weights_sha256,
                threads=prepared.threads,
                processor=processor(),
                torch=str(torch.__version__),
                notes=tuple(subject.notes),
                arrays=arrays,
            )
            atomic.make_folder(folder)
            save_result(folder / "result.json", result)
    result = read_result(folder / "result.json", MeasureResult)
    if (result.run, result.weights_sha256) != (run.name, trained.weights_sha256):
        raise TokenpruneError(f"{folder}: measured on other weights than those of {run.name}; --force measures again")
    return folder, result


def subject_of(
    run: RunFolder,
    prepared: Prepared,
    precision: hardware.Precision,
    progress: Callable[[int, int], None] = lambda done, total: None,
    data_dir: Path | None = None,
) -> Subject:
    """What a measurement may ask of a run; curves that are damaged are named in its notes."""
    recipe = read_resolved(run.resolved)
    notes: list[str] = []
    curves: list[PruneResult] = []
    for path in run.prune_folders():
        try:
            curves.append(run.curve(path))
        except TokenpruneError as error:
            notes.append(f"{error}: this prune is not used")
    model = prepared.model.eval()
    return Subject(
        model=model,
        dataset=prepared.dataset,
        device=prepared.device,
        precision=precision,
        recipe=recipe,
        curves=tuple(curve for curve in curves if not curve.finetune_epochs),
        fill=lambda plan, method, pruner: learned(run, recipe, plan, model.patches)(method, pruner),
        data_dir=data_dir,
        notes=notes,
        progress=progress,
    )
