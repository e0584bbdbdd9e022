"""Short hashes of the settings that decide a result: equal settings, equal hash."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def canonical(value: object) -> bytes:
    """JSON of which equal values have equal bytes."""
    return json.dumps(value, sort_keys=True).encode()


def digest(value: object) -> str:
    """Eight hex digits of anything that JSON can hold."""
    return hashlib.sha256(canonical(value)).hexdigest()[:8]


def curve_id(
    options: Mapping[str, Any],
    keep: Sequence[float | str],
    site: str,
    seeds: int,
    finetune_epochs: int,
    precision: str,
) -> str:
    """Eight hex digits of the settings that decide a curve's numbers, besides the run and the method.

    keep: ratios; text where something else than one ratio for all sites is asked (`recipe.site.written`). Their order
    decides nothing.
    """
    ratios = sorted((each for each in keep if not isinstance(each, str)), reverse=True)
    keep = [*ratios, *sorted(each for each in keep if isinstance(each, str))]
    moment, _, scores = site.partition(":")
    at_input = moment == "input"
    what = [options, keep, moment if at_input else site, seeds, finetune_epochs, precision]
    what += [scores or "last"] if at_input else []
    what += ["control"] if finetune_epochs else []  # what it is compared with
    return digest(what)
