"""Names of timm's models, read from its source: importing timm, and with it torch, takes seconds; this takes .1 s."""

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tokenprune.errors import nearest, shortened

#: timm's modules whose models have plain blocks, as `models/sparse.py` runs them.
FAMILIES = ("vision_transformer", "deit")

_REGISTERED = re.compile(r"^@register_model\s*\ndef (\w+)", re.MULTILINE)
_FORMER = re.compile(r"^register_model_deprecations\(__name__, \{(.*?)^\}\)", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"['\"](\w+)['\"]\s*:")


@cache
def timm_models() -> Mapping[str, str]:
    """The module of `timm.models` that each model is from, by name; former names, which timm still takes, included."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None, "timm is a dependency"
    found = {}
    for path in sorted((Path(str(spec.origin)).parent / "models").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        former = [name for block in _FORMER.findall(text) for name in _KEY.findall(block)]
        found.update(dict.fromkeys([*_REGISTERED.findall(text), *former], path.stem))
    return found


def check_name(name: str) -> None:
    """Raises ValueError for a name that timm does not know, and for a model that is no plain Vision Transformer.

    What follows a dot, the name of pretrained weights, is not checked.
    """
    known = timm_models()
    module = known.get(name.partition(".")[0])
    if module is None:
        guess = nearest(name, [each for each, where in known.items() if where in FAMILIES])
        hint = f"did you mean {guess!r}? " if guess else ""
        modules = " and ".join(f"timm.list_models(module={family!r})" for family in FAMILIES)
        raise ValueError(f"timm has no model {shortened(name)!r}: {hint}{modules} list those taken")
    if module not in FAMILIES:
        raise ValueError(
            f"timm's {shortened(name)!r} is not a plain Vision Transformer (it is of timm's module {module}; those of "
            f"{' and '.join(FAMILIES)} are, such as vit_tiny_patch16_224)"
        )
