"""What figures and tables of the laboratory share: settings by name, and means over trials with their intervals.

nan stands for a trial that diverged; means leave it out. Shape: t trials.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float

from tokenprune.claims import Verdict
from tokenprune.claims.published import PHASE_VIT
from tokenprune.claims.theory.scaling import published_fit
from tokenprune.claims.theory.study import LaboratoryStudy
from tokenprune.claims.theory.trials import PhaseStudy
from tokenprune.complexity import Scaling
from tokenprune.drawing import plots
from tokenprune.drawing.numbers import Interval, over_trials
from tokenprune.drawing.style import Drawing, render
from tokenprune.drawing.table import Table
from tokenprune.experiments.experiment import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Study = TypeVar("Study", bound=LaboratoryStudy[Any])


def of(every: Iterable[LaboratoryStudy[Any]], kind: type[Study]) -> list[Study]:
    """Those of one experiment."""
    return [study for study in every if isinstance(study, kind)]


def default_first(every: Iterable[LaboratoryStudy[Any]], kind: type[Study]) -> list[Study]:
    """Those of one experiment, the default settings first."""
    return sorted(of(every, kind), key=lambda study: not study.default)


def figures(kind: type[Study], *draws: Callable[[list[Study]], Drawing]) -> Callable[..., list[Figure]]:
    """What an experiment shows of all studies of its kind, if there are any."""

    def found(studies: Sequence[LaboratoryStudy[Any]], verdicts: Sequence[Verdict]) -> list[Figure]:
        chosen = default_first(studies, kind)
        return [partial(each, chosen) for each in draws] if chosen else []

    return found


def tables(kind: type[Study], *make: Callable[[Study], Table]) -> Callable[..., list[Table]]:
    """What an experiment shows of each study of its kind."""
    return lambda studies, verdicts: [each(study) for study in of(studies, kind) for each in make]


def names(chosen: Sequence[LaboratoryStudy[Any]]) -> list[str]:
    """What each is called in a figure: its label, and the recipe where that is not enough."""
    labels = [study.label for study in chosen]
    found = [study.label if labels.count(study.label) == 1 else study.name for study in chosen]
    return [
        name if found.count(name) == 1 else f"{name} ({study.setting})"
        for name, study in zip(found, chosen, strict=True)
    ]


def of_law(law: Scaling) -> Interval | None:
    """Exponent or slope with its bootstrap interval."""
    return None if law.estimate is None else Interval(law.estimate, law.low, law.high)


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


def ends(xs: Sequence[float], table: Float[np.ndarray, "x t"], what: str) -> str:
    """The first and the last known mean, in words."""
    known = [(x, y) for x, y in zip(xs, map(over_trials, table), strict=True) if y is not None]
    if not known:
        return "is not known: every trial diverged."
    (x0, y0), (x1, y1) = known[0], known[-1]
    return f"{y0.value:.3g} at {what} {x0:g}, {y1.value:.3g} at {what} {x1:g}."


def draw(
    ax: "Axes", xs: Sequence[float], table: Float[np.ndarray, "x t"], look: tuple[str, str, Any], *, thin: bool = False
) -> None:
    """Means over trials with their band; `thin` without it. look: colour, marker, dash."""
    means = [over_trials(values) for values in table]
    plots.line(ax, xs, means, look, width=0.6 if thin else 1.6, spread="none" if thin else "band", scale=1)


def drawing(figure: "Canvas", name: str, title: str, caption: str, alt: str) -> Drawing:
    return Drawing(f"theory-{name}", title, caption, alt, *render(figure))
