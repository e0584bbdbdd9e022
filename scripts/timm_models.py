#!/usr/bin/env python
"""./scripts/timm_models.py [MOST] [PATTERN]: which timm models can be pruned, and whether they run faithfully.

Every Vision Transformer that timm lists: refused, and why; or, of at most MOST million parameters (30), with random
weights, the same logits as timm's own at keep 1, to the last bit, and at keep .7 the same logits for an image alone as
in a batch, whether tokens are removed (magnitude) or merged (tome).
"""

import sys
from collections import Counter

import timm
import torch

import tokenprune
from tokenprune.errors import UsageError
from tokenprune.models.sparse import refuse_unsupported

MODULES = ("vision_transformer", "deit", "eva", "beit", "vision_transformer_relpos", "vision_transformer_hybrid")


def check(name: str) -> str:
    torch.manual_seed(0)
    vit = timm.create_model(name, num_classes=7).eval()
    side = vit.patch_embed.img_size[0]
    images = torch.randn(2, 3, side, side)
    expected = vit(images)
    for method in ("magnitude", "tome"):
        model = tokenprune.sparsify(vit, method, 1.0, sites="before:1").eval()
        if not torch.equal(model(images), expected):
            return f"WRONG: {method} at keep 1 differs by {(model(images) - expected).abs().max():.1e}"
        model.keep = 0.7
        together, alone = model(images), torch.cat([model(image[None]) for image in images])
        if not torch.allclose(together, alone, atol=1e-4, rtol=1e-4):
            return f"WRONG: {method} depends on batch mates by {(together - alone).abs().max():.1e}"
    return "passes"


@torch.inference_mode()
def main(most: float, pattern: str) -> None:
    counts: Counter[str] = Counter()
    for name in sorted({name for module in MODULES for name in timm.list_models(pattern, module=module)}):
        with torch.device("meta"):
            vit = timm.create_model(name)
        size = sum(parameter.numel() for parameter in vit.parameters()) / 1e6
        try:
            refuse_unsupported(vit)
            found = check(name) if size <= most else "taken, too large to be tried here"
        except UsageError as error:
            found = str(error)
        counts[found.partition(":")[0]] += 1
        print(f"{name:<55} {size:6.1f} M  {found}", flush=True)
    print()
    for found, count in counts.most_common():
        print(f"{count:4}  {found}")
    sys.exit("WRONG" in counts)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.exit(__doc__)
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 30, sys.argv[2] if len(sys.argv) > 2 else "*")
