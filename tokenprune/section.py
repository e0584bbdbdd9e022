"""The base of all sections of a recipe: immutable, strict, known keys only."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from tokenprune.errors import shortened


def _at_home(path: str) -> str:
    """`~` and `~name` are folders."""
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise ValueError(f"{shortened(path)!r}: there is no such home folder; name the whole path") from None


#: A path, or one of a key's known names.
Named = Annotated[str, AfterValidator(_at_home)]
Ratio = Annotated[float, Field(gt=0, le=1)]
Ratios = Annotated[tuple[Ratio, ...], Field(min_length=1, strict=False)]
#: One ratio for all sites, or a list with one for each. The tags are not part of a key's name.
TAGS = ("<one>", "<list>")
RatioOrRatios = Annotated[
    Annotated[Ratio, Tag(TAGS[0])] | Annotated[Ratios, Tag(TAGS[1])],
    Discriminator(lambda value: TAGS[isinstance(value, list | tuple)]),
]
Share = Annotated[float, Field(ge=0, le=1)]


#: Marks a key (`json_schema_extra=YOUNGER`) that was added after results were made: its default is left out of hashes.
YOUNGER: dict[str, Any] = {"younger": True}


class Section(BaseModel):
    """A part of a recipe: immutable, and unknown keys are errors."""

    # Validators are built at first use: most commands need few of them, or none.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, tree: Any) -> Any:
        """A section whose keys are all commented out is null in YAML; it gets the defaults."""
        if not isinstance(tree, dict):
            return tree
        empty = {key for key, value in tree.items() if value is None and is_section(cls, key)}
        return {key: {} if key in empty else value for key, value in tree.items()}


def identifying(section: Section, tree: dict[str, Any]) -> dict[str, Any]:
    """A dump of a section, or of part of it, without younger keys at their default: older results keep their names."""
    kept = {}
    for key, value in tree.items():
        if (field := type(section).model_fields.get(key)) is None:  # of `Sited`
            kept[key] = value
            continue
        own = getattr(section, key)
        if field.json_schema_extra == YOUNGER and own == field.get_default(call_default_factory=True):
            continue
        kept[key] = identifying(own, value) if isinstance(own, Section) else value
    return kept


def is_section(model: type[BaseModel], key: object) -> bool:
    """Whether that key of a section is a section itself."""
    field = model.model_fields.get(key) if isinstance(key, str) else None
    return field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, Section)
