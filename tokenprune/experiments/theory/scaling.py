"""T1, T2, T3 and T6: samples needed over alpha_*, token noise and the starting error, by ViT and CNN."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tokenprune.claims import Claim, LaboratoryStudy, Verdict
from tokenprune.claims.published import PAPER
from tokenprune.claims.theory.scaling import against_cnn, scaling
from tokenprune.claims.theory.trials import PhaseStudy
from tokenprune.drawing.table import Table
from tokenprune.experiments.experiment import Experiment, Figure
from tokenprune.experiments.theory import series
from tokenprune.experiments.theory.heat import heat_figure
from tokenprune.experiments.theory.phase_tables import diagrams, laws
from tokenprune.experiments.theory.phases import exponent_figure
from tokenprune.experiments.theory.words import AXES

Studies = Sequence[LaboratoryStudy[Any]]


def _alpha(studies: Studies, verdicts: Sequence[Verdict]) -> list[Figure]:
    vit, cnn = (_widest_first(_phases(studies, "alpha", kind)) for kind in ("vit", "cnn"))
    return _heat(studies, "alpha") + ([partial(exponent_figure, vit, cnn)] if vit or cnn else [])


def _alpha_tables(studies: Studies, verdicts: Sequence[Verdict]) -> list[Table]:
    every = series.of(studies, PhaseStudy)
    return diagrams(_phases(studies, "alpha")) + ([laws(every)] if every else [])


def _maps(*axes: str, kind: str = "vit") -> Callable[[Studies, Sequence[Verdict]], list[Figure]]:
    return lambda studies, verdicts: [figure for axis in axes for figure in _heat(studies, axis, kind)]


def _diagrams(*axes: str, kind: str = "vit") -> Callable[[Studies, Sequence[Verdict]], list[Table]]:
    return lambda studies, verdicts: [table for axis in axes for table in diagrams(_phases(studies, axis, kind))]


def _phases(studies: Studies, axis: str, kind: str = "vit") -> list[PhaseStudy]:
    return [
        study
        for study in series.default_first(studies, PhaseStudy)
        if (study.first.axis, study.first.kind) == (axis, kind)
    ]


def _heat(studies: Studies, axis: str, kind: str = "vit") -> list[Figure]:
    found = _phases(studies, axis, kind)
    name = f"phase-{axis}" + ("" if kind == "vit" else f"-{kind}")
    return [partial(heat_figure, name, found)] if found else []


def _widest_first(studies: Sequence[PhaseStudy]) -> list[PhaseStudy]:
    """Default settings first, of those the one whose N reach furthest: it has the fewest columns without N50."""
    return sorted(studies, key=lambda study: (not study.default, -study.first.samples[-1] / study.first.samples[0]))


ALPHA = Experiment(
    "T1",
    "Samples over alpha_*",
    None,
    (
        Claim(
            id="theory-alpha",
            statement="The smaller alpha_*, the more samples are needed.",
            source=f"{PAPER}, Theorem 1",
            reads="phase results of the ViT over alpha_*",
            test="the exponent g of N50 ~ alpha_*^-g is above 0, for alpha_* of whole tokens. The theorem's 2 bounds "
            "what suffices, not what is needed, so g is not held against it. In a single pass N is iterations times "
            "batch, so N50 also measures how fast SGD is: N50 eta / batch is reported as well. g depends on the N of "
            "the grid: the g of a success rate that need not reach 1 is reported with it",
            unit="exponent of 1 / alpha_*",
            support=(0.0, None),
            find=partial(scaling, axis="alpha"),
        ),
    ),
    _alpha,
    _alpha_tables,
)


def _grows(number: str, axis: str, what: str, symbol: str, reads: str, *axes: str) -> Experiment:
    """Whether sample complexity grows with an axis of the phase diagrams. axes: those that are shown."""
    return Experiment(
        number,
        f"Samples over {what}",
        None,
        (
            Claim(
                id=f"theory-{axis}",
                statement=f"Sample complexity grows with {what} {symbol}.",
                source=f"{PAPER}, Theorem 1, as (Theta(1) - {symbol})^-2 (full form as recalled)",
                reads=f"phase results of the ViT over {reads}",
                test=f"the slope of N50^-1/2 against {symbol} is below 0; the form is not tested, its lack of fit is "
                "reported",
                unit=f"N^-1/2 per unit of {symbol}",
                support=(None, 0.0),
                find=partial(scaling, axis=axis),
            ),
        ),
        _maps(*axes),
        _diagrams(*axes),
    )


NOISE = _grows("T2", "noise", "token noise", "tau", "tau", "noise", "confusion")
START = _grows("T3", "start", "the starting error", "sigma", "sigma, with delta twice that", "start")

CNN = Experiment(
    "T6",
    "ViT and CNN",
    None,
    (
        Claim(
            id="theory-vit-beats-cnn",
            statement="As alpha_* falls, a CNN of about as many parameters needs ever more samples than the ViT.",
            source=f"{PAPER}, Proposition 1: alpha_*^-4 against alpha_*^-2",
            reads="phase results over alpha_* of a ViT and a CNN on the same data, trained alike",
            test="exponent g of N50 ~ alpha_*^-g of the CNN less that of the ViT is above 0. In a single pass N is "
            "iterations times batch, so this also compares how fast SGD trains them",
            unit="exponent of 1 / alpha_*",
            support=(0.0, None),
            find=against_cnn,
        ),
    ),
    _maps(*AXES, kind="cnn"),
    _diagrams(*AXES, kind="cnn"),
)
