"""How figures look: Okabe and Ito's colours, one marker per method, and files that do not change from run to run."""

import io
import re
import zlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

PAPER, INK, MUTED, GRID = "#ffffff", "#1d2730", "#5d6b78", "#dde3e8"

#: Okabe and Ito's palette less its black and its yellow, which vanish on a dark or a light page.
BLUE, ORANGE, GREEN, PURPLE, RED, SKY = "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"
_FIXED = {"magnitude": (BLUE, "o"), "random": (ORANGE, "s"), "oracle": (GREEN, "^")}
_OTHERS = [(color, marker) for marker in "DvPX*" for color in (PURPLE, RED, SKY)]

_DPI = 160  # of the PNG

#: (ink, ground) of what was found.
VERDICTS = {
    "supported": ("#00694c", "#e1f3ec"),
    "refuted": ("#a33c00", "#fcebe1"),
    "undecided": ("#4d5a66", "#eceff2"),
}

_THEMED = {PAPER: "--paper", INK: "--ink", MUTED: "--muted", GRID: "--grid", BLUE: "--blue", GREEN: "--green"}
for (_ink, _ground), _name in zip(VERDICTS.values(), ("yes", "no", "open"), strict=True):
    _THEMED |= {_ink: f"--{_name}", _ground: f"--{_name}-soft"}

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where it would come to stand anyway: looking for room costs a tenth of all drawing
    "axes.formatter.useoffset": False,  # the offset would stand where the title does
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.bottom": False,  # the grid's lines mark the ticks
    "ytick.left": False,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "tokenprune",
    "path.simplify": True,
}


@dataclass(frozen=True)
class Drawing:
    """A drawn figure: `name` of its files, what it is called, what it shows, and the same picture twice.

    family, where: the verdicts that it belongs to, by their family and their site or variant; None for all. problems: a
    line for each damaged thing that it does without.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: str
    png: bytes
    family: str | None = None
    where: str | None = None
    problems: tuple[str, ...] = ()

    def inline(self) -> str:
        """The SVG to stand in a page: colours of the theme, ids of its own, no prologue, no metadata."""
        text = self.svg[self.svg.index("<svg") :]
        before, start, rest = text.partition("<metadata>")
        if start:
            text = before.rstrip() + rest.partition("</metadata>")[2]
        for name in (' id="', 'href="#', "url(#"):
            text = text.replace(name, f"{name}{self.name}.")
        for color, variable in _THEMED.items():
            text = text.replace(color, f"var({variable})")
        return re.sub(
            r'<svg\b([^>]*?) width="[^"]*"', r"<svg\1", re.sub(r' height="[\d.]+pt"', "", text, count=1), count=1
        )


def slug(*parts: str) -> str:
    """A file name of the parts: `accuracy-ab12cd34-before-0`."""
    return "-".join("".join(c if c.isalnum() or c in "._" else "-" for c in part).strip("-") for part in parts if part)


def style() -> AbstractContextManager[None]:
    """Every figure is drawn and saved inside this."""
    import matplotlib

    return matplotlib.rc_context(_RC)  # type: ignore[arg-type]


def looks(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) of each method: always the same for the built-in ones, and for the others by name."""
    found = {method: _FIXED[method] for method in sorted(set(methods)) if method in _FIXED}
    free = list(_OTHERS)
    for method in sorted(set(methods) - set(found)):
        pool = free or _OTHERS
        look = pool[zlib.crc32(method.encode()) % len(pool)]
        if look in free:
            free.remove(look)
        found[method] = look
    return found


def blank(width: float, height: float) -> "Figure":
    """A figure of so many inches that no window system knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    return figure


def render(figure: "Figure") -> tuple[str, bytes]:
    """(SVG, PNG at 160 dots an inch) without dates or versions in them: the same figure is the same bytes."""
    from PIL import Image

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if not axis.get_label_text():
                axis.set_label_coords(0, 0)  # else every tick label is measured to find where it should stand
    if engine := figure.get_layout_engine():
        engine.execute(figure)  # once, and not again for each of both pictures
        figure.set_layout_engine("none")
    png, svg = io.BytesIO(), io.BytesIO()
    canvas = cast("FigureCanvasAgg", figure.canvas)
    canvas.draw()
    picture = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
    picture.save(png, "png", dpi=(_DPI, _DPI), compress_level=3)
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return svg.getvalue().decode(), png.getvalue()
