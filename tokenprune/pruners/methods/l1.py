"""Keep the patches nearest to the image's centre by the L1 norm, the same in every image.

A floor: a diamond around the centre. Haurum, Escalera, Taylor & Moeslund, Which tokens to use? Investigating token
reduction in vision transformers (ICCV Workshops 2023), have such patterns by three norms. Score: distance from the
grid's centre, in patches (of a token that holds several, their mean). Selection: the nearest, of equals the first in
the image. Site: any. The rest is dropped.
"""

from tokenprune.pruners.grid import CentralPruner
from tokenprune.pruners.registry import register


@register("l1")
class L1(CentralPruner):
    """Distance by the L1 norm."""

    order = 1.0
