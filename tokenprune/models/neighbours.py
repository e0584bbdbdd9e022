"""A classifier that needs no training: the classes of the nearest training images.

Shapes: b images, n training images, c channels, k classes.
"""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

#: Of Wu et al. (CVPR 2018) and DINO (Caron et al., ICCV 2021).
NEIGHBOURS, TEMPERATURE = 20, 0.07


class Neighbours(nn.Module):
    """Weighted k-nearest neighbours by cosine of the features (Wu et al., CVPR 2018, section 3.4).

    The logit of a class is the log of the sum, over the 20 nearest training images that are of it, of
    exp(cosine / .07), or of a thousandth of the smallest such term where there is none.
    """

    features: Tensor  # n c, of length 1
    labels: Tensor  # n, whole numbers as floats, as weights are

    def __init__(self, features: Float[Tensor, "n c"], labels: Int[Tensor, " n"], classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("features", F.normalize(features.float(), dim=1))
        self.register_buffer("labels", labels.float())

    def forward(self, x: Float[Tensor, "b c"]) -> Float[Tensor, "b k"]:
        cosine = F.normalize(x.float(), dim=1) @ self.features.T
        near, place = cosine.topk(min(NEIGHBOURS, cosine.shape[1]), dim=1)
        voices = (near / TEMPERATURE).exp()
        of_class = self.labels.long()[place]
        least = 1e-3 * voices.amin(dim=1, keepdim=True)
        votes = voices.new_zeros(x.shape[0], self.classes).scatter_add(1, of_class, voices)
        return votes.maximum(least).log()
