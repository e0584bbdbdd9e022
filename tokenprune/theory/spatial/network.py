"""The simplified ViT of Jelassi, Sander & Li (NeurIPS 2022): many models as one batch, gradients in closed form.

Shapes: m models trained together, b samples of each in a batch, d patches, k dimensions of a patch. Patches are rows.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tokenprune.theory.spatial import Positional

_Patches = Float[Tensor, "m b d k"]


@dataclass
class PositionalViT:
    """F(X) = sum_i phi(d sum_j S_ij <v, X_j>) with S = softmax(A) over j and phi(t) = t^p + linear t.

    Attention is purely positional: A does not depend on X. Its diagonal is not trained.
    """

    scores: Float[Tensor, "m d d"]  # A
    value: Float[Tensor, "m k"]  # v
    spec: Positional

    def attention(self) -> Float[Tensor, "m d d"]:
        """S: queries i on the second last axis, the patches j that they attend to on the last."""
        return torch.softmax(self.scores, -1)

    def margins(self, x: _Patches) -> Float[Tensor, "m b"]:
        """F(X), whose sign is the predicted label."""
        return self._phi(self._mixed(self._projected(x), self.attention())).sum(-1)

    def step(self, x: _Patches, y: Float[Tensor, "m b"], value_rate: float, scores_rate: float) -> None:
        """One step of SGD, in place, on the mean logistic loss log(1 + exp(-y F)) of each model's batch.

        A rate of 0 leaves A as it is, bit for bit.
        """
        attention = self.attention()
        projected = self._projected(x)
        mixed = self._mixed(projected, attention)
        slope = -y * torch.sigmoid(-y * self._phi(mixed).sum(-1)) / y.shape[1]  # dL/dF
        power = self.spec.power
        back = slope[..., None] * (power * mixed ** (power - 1) + self.spec.linear) * mixed.shape[2]
        projected_back = torch.bmm(back, attention)  # dL/d<v, X_j>
        if scores_rate:
            gap = torch.bmm(back.mT, projected)  # dL/dS
            gap = attention * (gap - (attention * gap).sum(-1, keepdim=True))
            gap.diagonal(dim1=1, dim2=2).zero_()
            self.scores.sub_(gap, alpha=scores_rate)
        self.value.sub_(torch.bmm(projected_back.flatten(1)[:, None], x.flatten(1, 2))[:, 0], alpha=value_rate)

    def _projected(self, x: _Patches) -> Float[Tensor, "m b d"]:
        return torch.bmm(x.flatten(1, 2), self.value[..., None]).unflatten(1, x.shape[1:3])[..., 0]

    def _mixed(self, projected: Float[Tensor, "m b d"], attention: Float[Tensor, "m d d"]) -> Float[Tensor, "m b d"]:
        return torch.bmm(projected, attention.mT) * projected.shape[2]

    def _phi(self, mixed: Float[Tensor, "m b d"]) -> Float[Tensor, "m b d"]:
        return mixed**self.spec.power + self.spec.linear * mixed


def association(scores: Float[Tensor, "m d d"], same: Bool[Tensor, "m d d"]) -> Float[Tensor, "m 2"]:
    """Patch association: mean overlap and exact-match rate of each model, NaN both where A is not finite.

    same: whether i and j are of one set; i itself counts as of it and is ranked nowhere, for A_ii is not trained.
    Overlap is the share of the C - 1 largest A_ij, j other than i, that are of i's set, mean over i; exact match the
    share of i where all of them are. A random A overlaps by (C - 1) / (d - 1).
    """
    others = int(same[0, 0].sum()) - 1
    ranked = scores.clone()
    ranked.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    hit = same.gather(2, ranked.topk(others, -1).indices).to(scores.dtype).mean(-1)
    found = torch.stack([hit.mean(1), (hit == 1).to(scores.dtype).mean(1)], 1)
    return torch.where(scores.isfinite().all(-1).all(-1)[:, None], found, torch.nan)
