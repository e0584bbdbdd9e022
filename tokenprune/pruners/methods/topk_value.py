"""Keep the tokens of largest attention times the norm of their value.

The score of adaptive token sampling (Fayyaz et al., ECCV 2022) with a plain top-k; Guo, Kamigaito & Watanabe, Attention
score is not all you need (EMNLP 2024), have it for caches of language models. Score: class attention, mean over heads
(received attention without a class token), times the L2 norm of the value, mean over heads. Selection: the largest.
Site: after attention, where the two have just been multiplied; before works. The rest is dropped.

Adaptive token sampling multiplies head by head and then sums; here the means are multiplied.
"""

from torch import Tensor

from tokenprune.pruners.base import ScorePruner, Signals, TokenState
from tokenprune.pruners.registry import register


@register("topk_value")
class TopKValue(ScorePruner):
    """Attention times value norm."""

    def score(self, state: TokenState, signals: Signals) -> Tensor:
        return signals.attention() * signals.value_norms()
