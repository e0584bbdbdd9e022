"""The recipes that travel with the program. Apart from `recipe`, so that listing them loads no schema."""

from pathlib import Path

#: Folders of recipes that are not `tokenprune train`'s, each a namespace of its own.
KINDS = ("theory", "sweeps")


def shipped_recipes(kind: str = "") -> dict[str, Path]:
    """Those of `tokenprune train` by name, or those of one of KINDS."""
    package = Path(__file__).parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return {path.stem: path for path in sorted((folder / kind).glob("*.yaml"))}
    return {}


def summary(path: Path) -> str:
    """A recipe file's first comment line: one sentence about it."""
    with path.open(encoding="utf-8") as lines:
        return next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), "")
