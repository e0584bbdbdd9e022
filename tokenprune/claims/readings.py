"""Effects on what was measured of models: a number of each run, added up by seed over the settings compared."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from tokenprune.claims import commands
from tokenprune.claims.claim import Finding, Support
from tokenprune.claims.estimate import Estimate
from tokenprune.claims.evidence import RunData
from tokenprune.claims.measured import Missing, conditions, results
from tokenprune.claims.study import TrainedStudy, largest
from tokenprune.runs import MeasureResult

_Found = TypeVar("_Found")
#: A number of one measurement of one run. Raises Missing where it does not say it.
Read = Callable[[MeasureResult], float]
#: Test images that a measurement looks at by default.
IMAGES = {"fourier": 1000, "frequency-noise": 10000, "lesion": 10000, "rank": 1000, "variance": 1000}
#: A setting, and what its number counts for in the effect: 1 and -1 of a difference.
Arm = tuple[TrainedStudy, float]


def has(study: TrainedStudy, measurement: str) -> bool:
    """Whether any of its runs was measured so."""
    return any(result.measurement == measurement for run in study.runs for result in run.measured)


def whole(found: Sequence[TrainedStudy], measurement: str) -> list[TrainedStudy]:
    """Settings without a pruner that were measured so, on the most images of those that were."""
    return largest([study for study in found if study.method == "none" and has(study, measurement)])


def contrast(
    measurement: str,
    arms: Sequence[Arm],
    read: Read,
    what: str,
    *,
    asked: Mapping[str, Any] | None = None,
    site: str | None = None,
    variant: str | None = None,
    beside: str | None = None,
    support: Support | None = None,
) -> Finding:
    """The sum over arms of weight times what is read, by seed, of those seeds that all arms have; about the first arm.

    All are measured under the same options, those that most seeds have; of as many, the fewest options. asked: options
    that say which prunings are to be measured.
    """
    under = shared_conditions(measurement, arms, read)
    known = [(weight, by_seed(study, measurement, read, under)) for study, weight in arms]
    seeds = sorted(set.intersection(*(set(found) for _, found in known)))
    values = {seed: sum(weight * found[seed] for weight, found in known) for seed in seeds}
    options = {**json.loads(under), **(asked or {})}
    missing = [
        run for (study, _), (_, found) in zip(arms, known, strict=True) for run in study.runs
        if run.result.seed not in found
    ]  # fmt: skip
    lacking, final = _lacking(missing, measurement, read, under)
    said = [f"measured with {', '.join(f'{key} {value}' for key, value in json.loads(under).items())}"]
    said = [*([beside] if beside else []), *(said if under != "{}" else []), "the interval is over seeds alone"]
    subject = arms[0][0]
    return Finding(
        subject=subject,
        what=what,
        estimate=Estimate.of_seeds(values),
        lacking=None if values else lacking,
        site=site,
        variant=variant,
        images=images(subject, measurement, under),
        beside="; ".join(said),
        support=support,
        todo=None if final else "\n".join(_measure(run, measurement, under, options) for run in missing) or None,
        more=None if final else partial(_further, [study for study, _ in arms], measurement, options),
        evidence=tuple(
            run.folder.name
            for (study, _), (_, found) in zip(arms, known, strict=True)
            for run in study.runs
            if run.result.seed in found
        ),
    )


def images(study: TrainedStudy, measurement: str, under: str) -> int | None:
    """Test images that a measurement looks at; None where it looks at none."""
    least = IMAGES.get(measurement)
    asked = json.loads(under).get("images", least)
    return None if least is None or not isinstance(asked, int) else min(asked, study.runs[0].result.test_count)


def by_seed(
    study: TrainedStudy, measurement: str, read: Callable[[MeasureResult], _Found], under: str | None = None
) -> dict[int, _Found]:
    """What is read of each run that says it, by seed; of several results of a run the first.

    under: their `conditions`; None: those that most seeds have.
    """
    under = shared_conditions(measurement, [(study, 1)], read) if under is None else under
    found = {}
    for run in study.runs:
        for result in results(run, measurement, under):
            try:
                found[run.result.seed] = read(result)
                break
            except Missing:
                continue
    return found


def shared_conditions(measurement: str, arms: Sequence[Arm], read: Callable[[MeasureResult], Any]) -> str:
    """Those under which the most seeds have all arms."""
    runs = [run for study, _ in arms for run in study.runs]
    every = {conditions(result) for run in runs for result in results(run, measurement)} or {"{}"}

    def order(under: str) -> tuple[int, int, int, str]:
        known = [set(by_seed(study, measurement, read, under)) for study, _ in arms]
        return -len(set.intersection(*known)), -sum(map(len, known)), len(under), under

    return min(every, key=order)


def _lacking(
    missing: Sequence[RunData], measurement: str, read: Callable[[MeasureResult], Any], under: str
) -> tuple[str, bool]:
    """Why there is no number of these runs, and whether there never will be."""
    for run in missing:
        for result in results(run, measurement, under):
            try:
                read(result)
            except Missing as error:
                return f"{measurement} of {run.folder.name}: {error}", error.final
    if missing:
        return f"{measurement} was not measured of {', '.join(run.folder.name for run in missing[:3])}", False
    return "no seed was trained in all the settings compared", False


def _measure(run: RunData, measurement: str, under: str, options: Mapping[str, Any]) -> str:
    again = any(each.options == options for each in results(run, measurement, under))
    return commands.measure(run, measurement, options, again=again)


def _further(studies: Sequence[TrainedStudy], measurement: str, options: Mapping[str, Any], wanted: int) -> list[str]:
    """Commands that train further seeds of each setting, so that there are `wanted`, and measure them."""

    def alike(run: RunData, name: str) -> str:
        return commands.measure(run, measurement, options, name=name)

    return [line for study in studies for line in commands.further(study.runs, wanted, alike)]
