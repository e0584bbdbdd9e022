"""From trials to what is drawn: means over the trials of all seeds, with their intervals.

nan stands for a trial that diverged; means leave it out. Shape: t trials.
"""

import numpy as np
from jaxtyping import Float

from tokenprune.claims import Estimate
from tokenprune.claims.published import PHASE_VIT
from tokenprune.claims.theory.scaling import published_fit
from tokenprune.claims.theory.trials import PhaseStudy
from tokenprune.complexity import Scaling
from tokenprune.report.series import Interval
from tokenprune.statistics import mean_interval


def mean(values: Float[np.ndarray, " t"]) -> Interval | None:
    """With Student's t interval; None where every trial diverged."""
    known = values[np.isfinite(values)].tolist()
    return Interval(*mean_interval(known)) if known else None


def of_law(law: Scaling) -> Interval | None:
    """Exponent or slope with its bootstrap interval."""
    return None if law.estimate is None else Interval(law.estimate, law.low, law.high)


def of_estimate(found: Estimate | None) -> Interval | None:
    """An estimate with its interval."""
    return None if found is None else Interval(found.value, found.low, found.high)


def on_published_grid(study: PhaseStudy) -> bool:
    first = study.first
    return _as_published(study) and (first.values, first.samples) == (PHASE_VIT.values, PHASE_VIT.samples)


def published_law(value: float) -> float | None:
    """N50 of the published diagram's fit at alpha_*^-2 = value; None beyond the published N, where nothing was seen."""
    found = published_fit().n50(value)
    return found if found is not None and PHASE_VIT.samples[0] <= found <= PHASE_VIT.samples[-1] else None


def published_n50(study: PhaseStudy, value: float) -> float | None:
    """N50 of the published diagram's column at alpha_*^-2 = value; None for another axis, network or value."""
    if not _as_published(study) or value not in PHASE_VIT.values:
        return None
    return published_fit().columns.n50[PHASE_VIT.values.index(value)]


def _as_published(study: PhaseStudy) -> bool:
    return (study.first.axis, study.first.kind) == ("alpha", "vit")
