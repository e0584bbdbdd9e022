"""What was published of the experiments that are repeated here.

Numbers of Li, Wang, Liu & Chen are read from their slides and site; `mark` says how surely. Read off axes means +-1 in
the last digit.
"""

from dataclasses import dataclass
from typing import Literal

Mark = Literal["slides", "slides, exact", "slides, read off axes", "read off axes", "recalled"]

PAPER = "Li, Wang, Liu & Chen, A Theoretical Understanding of Shallow Vision Transformers, ICLR 2023"
PARK = "Park & Kim 2022 (arXiv 2202.06709)"
SAHINER = "Sahiner et al. 2022 (arXiv 2205.08078)"


@dataclass(frozen=True)
class Published:
    """A published number or form, in words."""

    text: str
    mark: Mark

    def __str__(self) -> str:
        return f"{self.text} ({self.mark})"


@dataclass(frozen=True)
class PublishedPhase:
    """Successes out of `trials`, by value, N. values: alpha_*^-2. samples: N."""

    values: tuple[float, ...]
    samples: tuple[int, ...]
    successes: tuple[tuple[int, ...], ...]
    trials: int
    mark: Mark
    source: str


@dataclass(frozen=True)
class PublishedCurve:
    """y over x."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    mark: Mark
    source: str


# As printed: from N = 400 in the first row down to 40; columns alpha_*^-2 = 4 .. 14.
_ROWS = (
    (20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 19),
    (20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 17),
    (20, 20, 20, 20, 20, 20, 20, 20, 20, 19, 14),
    (20, 20, 20, 20, 20, 20, 20, 19, 18, 17, 4),
    (20, 20, 20, 20, 20, 20, 20, 17, 16, 10, 0),
    (20, 20, 20, 20, 20, 19, 18, 16, 14, 5, 0),
    (20, 20, 20, 20, 19, 17, 16, 13, 6, 0, 0),
    (20, 20, 20, 18, 17, 15, 9, 4, 1, 0, 0),
    (20, 20, 18, 17, 14, 10, 3, 0, 0, 0, 0),
    (20, 18, 17, 14, 10, 4, 1, 0, 0, 0, 0),
)

PHASE_VIT = PublishedPhase(
    values=tuple(float(x) for x in range(4, 15)),
    samples=tuple(range(40, 401, 40)),
    successes=tuple(zip(*reversed(_ROWS), strict=True)),
    trials=20,
    mark="slides, exact",
    source=f"{PAPER}, phase diagram of the ViT",
)

#: k in N >= Omega(alpha_*^-k): Theorem 1 for the ViT, Proposition 1 for the CNN.
EXPONENTS = {"vit": 2.0, "cnn": 4.0}

#: Attention summed over label-relevant tokens, over iterations.
ATTENTION = PublishedCurve(
    name="attention on label-relevant tokens",
    x=tuple(float(x) for x in range(0, 101, 10)),
    y=(0.54, 0.665, 0.78, 0.855, 0.89, 0.90, 0.905, 0.907, 0.908, 0.908, 0.908),
    mark="slides, read off axes",
    source=f"{PAPER}, attention during training",
)

#: Test loss where 0 and 20 tokens are removed, by method.
REMOVAL = {
    method: PublishedCurve(
        method, (0.0, 20.0), y, "slides, read off axes", f"{PAPER}, sparsification; end points of the curve"
    )
    for method, y in (("random", (0.098, 0.076)), ("irrelevant", (0.102, 0.0005)), ("noisy", (0.105, 0.031)))
}
#: Change of accuracy under noise of .1 to .9 pi, ImageNet models.
NOISE = {
    name: PublishedCurve(name, tuple(i / 10 for i in range(1, 10)), y, "read off axes", f"{PARK}, figure 3")
    for name, y in (
        ("ResNet", (-0.05, -0.088, -0.127, -0.107, -0.103, -0.101, -0.097, -0.136, -0.154)),
        ("ViT", (-0.055, -0.121, -0.149, -0.134, -0.116, -0.098, -0.063, -0.043, -0.048)),
    )
}
#: Test accuracy on CIFAR-100 by the number of attentions in a ResNet-50, from its end.
ATTENTIONS = PublishedCurve(
    "AlterNet",
    (0.0, 1.0, 2.0, 3.0, 4.0),
    (0.8248, 0.8345, 0.8366, 0.8377, 0.8402),
    "read off axes",
    f"{PARK}, CIFAR-100",
)
#: Test accuracy over alpha_* with spurious backgrounds, by the weights that training starts from.
SPURIOUS = {
    name: PublishedCurve(
        f"start from {start}",
        (0.56, 0.67, 0.78, 0.89, 1.0),
        accuracy,
        "slides, read off axes",
        f"{PAPER}, spurious correlations: CIFAR-10 with ImageNet plants",
    )
    for name, start, accuracy in (
        ("cifar100", "CIFAR-100", (0.874, 0.935, 0.981, 0.989, 0.997)),
        ("cifar10", "modified CIFAR-10", (0.838, 0.902, 0.943, 0.954, 0.986)),
    )
}
