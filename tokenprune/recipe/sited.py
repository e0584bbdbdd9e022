"""The base of sections with a pruning site."""

from typing import Any, get_args

from pydantic import SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from tokenprune.errors import UsageError, shortened
from tokenprune.recipe.site import InputScores, Schedule
from tokenprune.section import Section


class Sited(Section):
    """A section with a pruning site. Files and hashes have, since before `input:rollout`, a second key for its scores.

    That key is `input_scores`: last, mean or rollout.
    """

    @model_validator(mode="before")
    @classmethod
    def _join(cls, tree: Any) -> Any:
        if not isinstance(tree, dict) or "input_scores" not in tree:
            return tree
        tree = dict(tree)
        scores = tree.pop("input_scores")
        if scores not in (None, *get_args(InputScores)):
            raise ValueError(f"input_scores: found {shortened(repr(scores))}, must be last, mean or rollout")
        if tree.get("site") == "input" and scores is not None:
            tree["site"] = str(Schedule("input", scores=scores))
        return tree

    @field_validator("site", check_fields=False)
    @classmethod
    def _site(cls, value: str | None) -> str | None:
        """As `Schedule` writes it, so that `input:last` and `input` are one site; ValueError if it is none."""
        try:
            return value if value is None else str(Schedule.parse(value))
        except UsageError as error:
            raise ValueError(str(error)) from None

    @model_serializer(mode="wrap")
    def _split(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = dump(self)
        if tree.get("site") is not None:
            tree["site"], scores = Schedule.parse(tree["site"]).recorded
            tree["input_scores"] = scores or "last"
        return tree
