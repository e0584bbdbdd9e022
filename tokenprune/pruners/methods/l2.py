"""Keep the patches nearest to the image's centre by the L2 norm, the same in every image.

A floor: a disc around the centre. Haurum, Escalera, Taylor & Moeslund, Which tokens to use? Investigating token
reduction in vision transformers (ICCV Workshops 2023), have such patterns by three norms. Score: distance from the
grid's centre, in patches (of a token that holds several, their mean). Selection: the nearest, of equals the first in
the image. Site: any. The rest is dropped.
"""

from tokenprune.pruners.grid import CentralPruner
from tokenprune.pruners.registry import register


@register("l2")
class L2(CentralPruner):
    """Distance by the L2 norm."""

    order = 2.0
