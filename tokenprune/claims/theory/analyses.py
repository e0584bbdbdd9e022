"""All that is computed of a setting of the laboratory, beyond its verdicts, as a record for JSON."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tokenprune.claims.theory import convergence, removal, spatial
from tokenprune.claims.theory.attention import approach
from tokenprune.claims.theory.scaling import fit
from tokenprune.claims.theory.study import LaboratoryStudy
from tokenprune.claims.theory.trials import AttentionStudy, PhaseStudy, SparsifyStudy, SpatialStudy, TimeStudy

_ANALYSES: dict[type[LaboratoryStudy[Any]], Callable[[Any], Any]] = {
    PhaseStudy: fit,
    AttentionStudy: approach,
    SparsifyStudy: removal.ratios,
    TimeStudy: convergence.analyse,
    SpatialStudy: spatial.transfer,
}


def analysis(study: LaboratoryStudy[Any]) -> Any:
    """The analysis behind the study's claims and figures; None where it has none."""
    found = _ANALYSES.get(type(study))
    return plain(found(study)) if found else None


def plain(value: Any) -> Any:
    """An analysis as JSON has it: null for nan, without the draws of a bootstrap and what is computed from them."""
    if dataclasses.is_dataclass(value):
        shown = {each.name: getattr(value, each.name) for each in dataclasses.fields(value) if each.repr}
        return plain({name: part for name, part in shown.items() if not callable(part)})
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return plain(value._asdict()) if hasattr(value, "_asdict") else [plain(part) for part in value]
    return None if isinstance(value, float) and np.isnan(value) else value
