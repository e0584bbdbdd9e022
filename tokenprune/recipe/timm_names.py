"""Whether timm has a model of that name, of plain blocks; importing timm, and with it torch, takes seconds."""

import importlib
import importlib.util
import re
from functools import cache
from pathlib import Path

from tokenprune.errors import nearest, shortened

#: timm's modules whose models have plain blocks, as `models/sparse.py` runs them.
FAMILIES = ("vision_transformer", "deit", "eva", "vision_transformer_hybrid")

_RELATIVE = ("vision_transformer_relpos", "beit")
_REGISTERED = re.compile(r"^@register_model\s*\ndef (\w+)", re.MULTILINE)


@cache
def in_source() -> frozenset[str]:
    """Models of these modules, read from timm's source; without former names, which only timm's registry knows."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None, "timm is a dependency"
    models = Path(str(spec.origin)).parent / "models"
    texts = ((models / f"{family}.py").read_text(encoding="utf-8") for family in FAMILIES)
    return frozenset(name for text in texts for name in _REGISTERED.findall(text))


def check_name(name: str) -> None:
    """Raises ValueError for a name that timm does not know, and for a model that is no plain Vision Transformer.

    What follows a dot, the name of pretrained weights, is not checked. timm itself is asked only where its source does
    not answer.
    """
    if name.partition(".")[0] in in_source():
        return
    timm = importlib.import_module("timm.models")
    if not timm.is_model(name):
        guess = nearest(name, [each for family in FAMILIES for each in timm.list_models(module=family)])
        hint = f"did you mean {guess!r}? " if guess else ""
        modules = " and ".join(f"timm.list_models(module={family!r})" for family in FAMILIES)
        raise ValueError(f"timm has no model {shortened(name)!r}: {hint}{modules} list those taken")
    if not timm.is_model_in_modules(name, FAMILIES):
        module = timm.model_entrypoint(name).__module__.removeprefix("timm.models.")
        if module in _RELATIVE:
            raise ValueError(
                f"timm's {shortened(name)!r} has biases by relative position, which its blocks look up for all patches"
            )
        raise ValueError(
            f"timm's {shortened(name)!r} is not a plain Vision Transformer (it is of timm's module {module}; those of "
            f"{' and '.join(FAMILIES)} are, such as vit_tiny_patch16_224)"
        )
