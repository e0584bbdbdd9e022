"""Adaptive and learned methods again, from their papers' words: one image, plain loops, masks instead of removal.

An image runs at full length through the model. Tokens that are gone are masked with -inf in attention, a token that
holds several patches has the logarithm of their number added (Bolya et al. 2023, eq. 1).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Image:
    """x: all tokens, prefix first. alive, size, home: per patch token; home of a patch is the token it is in, or -1."""

    x: Tensor
    prefix: int
    alive: list[bool]
    size: list[float]
    home: list[int]
    notes: dict = field(default_factory=dict)

    def left(self) -> list[int]:
        return [j for j, here in enumerate(self.alive) if here]

    def drop(self, j: int) -> None:
        self.alive[j] = False
        self.home = [-1 if token == j else token for token in self.home]

    def patch(self, j: int) -> Tensor:
        return self.x[self.prefix + j]


@dataclass
class Site:
    """What a rule may look at: the block's attention and its inputs. keep: at most so many tokens."""

    cursor: int
    keep: int
    attention: Tensor  # [h, s, s]
    keys: Tensor  # [h, n, d]
    values: Tensor  # [h, n, d]
    class_token: bool

    def by_head(self, image: Image) -> Tensor:
        """Class attention, or that received, of every patch token [h, n]."""
        if self.class_token:
            return self.attention[:, 0, image.prefix :]
        weight = [1.0] * image.prefix + [s if here else 0.0 for s, here in zip(image.size, image.alive, strict=True)]
        rows = torch.tensor(weight, dtype=torch.float64) / sum(weight)
        return torch.einsum("q,hqk->hk", rows, self.attention)[:, image.prefix :]

    def received(self, image: Image) -> Tensor:
        return Site(0, 0, self.attention, self.keys, self.values, False).by_head(image).mean(0)


Rule = Callable[[Image, Site], None]


def forward(vit, pixels: Tensor, sites: dict[int, int], rule: Rule, finish: Callable[[Image], None] | None = None):
    """Logits, and a copy of the image's bookkeeping after each site. sites: the most tokens that may stay at each."""
    p = vit.num_prefix_tokens
    x = vit.norm_pre(vit._pos_embed(vit.patch_embed(pixels[None])))[0]
    count = len(x) - p
    image = Image(x, p, [True] * count, [1.0] * count, list(range(count)))
    history = []

    def visit(cursor: int, attention: Tensor, y: Tensor, block) -> None:
        if cursor in sites:
            _, keys, values = _heads(block.attn, y)
            seen = Site(cursor, sites[cursor], attention, keys[:, p:], values[:, p:], vit.cls_token is not None)
            rule(image, seen)
            history.append((list(image.alive), list(image.home), list(image.size), image.x.clone()))

    for i, block in enumerate(vit.blocks):
        y = block.norm1(image.x)
        visit(2 * i, _attention(block.attn, y, image), y, block)
        y = block.norm1(image.x)
        attention = _attention(block.attn, y, image)
        _, _, values = _heads(block.attn, y)
        mixed = torch.cat([attention[h] @ values[h] for h in range(len(values))], dim=1)
        image.x = image.x + block.ls1(block.attn.proj(mixed))
        visit(2 * i + 1, attention, y, block)
        image.x = image.x + block.ls2(block.mlp(block.norm2(image.x)))
    if finish is not None:
        finish(image)
    x = vit.norm(image.x)
    if vit.global_pool == "token":
        pooled = x[0]
    else:
        left = image.left()
        pooled = sum(image.size[j] * x[p + j] for j in left) / sum(image.size[j] for j in left)
    return vit.head(vit.fc_norm(pooled)), history


def _heads(attn, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [h, s, d]."""
    q, k, v = attn.qkv(y).view(len(y), 3, attn.num_heads, attn.head_dim).permute(1, 2, 0, 3)
    return attn.q_norm(q), attn.k_norm(k), v


def _attention(attn, y: Tensor, image: Image) -> Tensor:
    q, k, _ = _heads(attn, y)
    maps = []
    for h in range(len(q)):
        logits = q[h] @ k[h].T / math.sqrt(attn.head_dim)
        for j, here in enumerate(image.alive):
            column = image.prefix + j
            if here:
                logits[:, column] = logits[:, column] + math.log(image.size[j])
            else:
                logits[:, column] = -math.inf
        maps.append(logits.softmax(-1))
    return torch.stack(maps)


def ats(image: Image, site: Site) -> None:
    """Fayyaz et al. 2022: inverse transform sampling of attention times value norm."""
    left = image.left()
    if len(left) <= site.keep:
        return
    attention = site.by_head(image)
    score = [sum(float(attention[h, j] * site.values[h, j].norm()) for h in range(len(attention))) for j in left]
    stay = set()
    for i in range(1, site.keep + 1):
        level, total = (2 * i - 1) / (2 * site.keep) * sum(score), 0.0
        for j, value in zip(left, score, strict=True):
            total += value
            if total >= level:
                stay.add(j)
                break
    for j in left:
        if j not in stay:
            image.drop(j)


def predict(x: Tensor, kept: list[int], weights: dict[str, Tensor]) -> Tensor:
    """DynamicViT's keep probability of each token [n] (Rao et al. 2021): raw tokens, those kept so far."""

    def linear(name: str, value: Tensor) -> Tensor:
        return weights[f"{name}.weight"] @ value + weights[f"{name}.bias"]

    def gelu(value: Tensor) -> Tensor:
        return value * 0.5 * (1 + torch.erf(value / math.sqrt(2)))

    hidden = []
    for token in x:
        normal = (token - token.mean()) / (token.var(unbiased=False) + 1e-5).sqrt()
        hidden.append(gelu(linear("embed.1", normal * weights["embed.0.weight"] + weights["embed.0.bias"])))
    half = (x.shape[1] + 1) // 2
    common = sum(hidden[j][half:] for j in kept) / len(kept)
    answers = []
    for value in hidden:
        out = gelu(linear("decide.0", torch.cat([value[:half], common])))
        out = linear("decide.4", gelu(linear("decide.2", out)))
        answers.append(out.softmax(0)[0])
    return torch.stack(answers)


def dynamicvit(weights: dict[int, dict[str, Tensor]]) -> Rule:
    def rule(image: Image, site: Site) -> None:
        left = image.left()
        chance = predict(torch.stack([image.patch(j) for j in left]), list(range(len(left))), weights[site.cursor])
        best = sorted(range(len(left)), key=lambda i: -float(chance[i]))[: site.keep]
        for i, j in enumerate(left):
            if i not in best:
                image.drop(j)

    return rule


def avit(scale: float, center: float, epsilon: float = 0.01) -> tuple[Rule, Callable[[Image], None]]:
    """Yin et al. 2022: tokens halt; prefix tokens are averaged over depth. notes: for the ponder and prior losses."""

    def halting(token: Tensor) -> float:
        return 1 / (1 + math.exp(-(scale * float(token[0]) - center)))

    def rule(image: Image, site: Site) -> None:
        notes = image.notes
        if not notes:
            tokens = range(image.prefix + len(image.alive))
            notes.update(sums=[0.0] * len(tokens), on=[True] * len(tokens), ponder=[0.0] * len(tokens), scores=[])
            notes.update(output=torch.zeros_like(image.x[: image.prefix]))
        running, on, ponder = notes["sums"], notes["on"], notes["ponder"]
        before = list(running)
        score = [halting(token) if on[i] else 0.0 for i, token in enumerate(image.x)]
        notes["scores"].append(sum(score) / len(score))
        for i in range(len(score)):
            if on[i]:
                running[i] += score[i]
                ponder[i] += 1
        for i in range(image.prefix):
            if on[i]:
                stops = running[i] >= 1 - epsilon
                notes["output"][i] += (1 - before[i] if stops else score[i]) * image.x[i]
                if stops:
                    on[i], ponder[i] = False, ponder[i] + 1 - before[i]
        ranked = sorted(image.left(), key=lambda j: running[image.prefix + j])
        stay = [j for j in ranked if running[image.prefix + j] < 1 - epsilon][: site.keep] or ranked[:1]
        for j in image.left():
            if j not in stay:
                i = image.prefix + j
                on[i], ponder[i] = False, ponder[i] + max(0.0, 1 - before[i])
                image.drop(j)

    def finish(image: Image) -> None:
        notes = image.notes
        for i in range(len(notes["on"])):
            if notes["on"][i]:
                rest = max(0.0, 1 - notes["sums"][i])
                notes["ponder"][i] += 1 + rest
                if i < image.prefix:
                    notes["output"][i] += rest * image.x[i]
        image.x = torch.cat([notes["output"], image.x[image.prefix :]])

    return rule, finish


def avit_loss(images: list[Image], sites: list[int], depth: int, target: float = 0.75) -> tuple[float, float]:
    """(ponder, KL from the prior), of the notes after `finish`."""
    ponder = sum(sum(image.notes["ponder"]) / len(image.notes["ponder"]) for image in images) / len(images)
    scores = [sum(image.notes["scores"][s] for image in images) for s in range(len(sites))]
    prior = [math.exp(-(((cursor / 2 / depth - target) * 12) ** 2) / 2) for cursor in sites]
    q, p = [s / sum(scores) for s in scores], [s / sum(prior) for s in prior]
    return ponder, sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def ltmp(merge: dict[int, float], prune: dict[int, float]) -> Rule:
    """Bonnaerens & Dambre 2023. prune: thresholds of received attention itself."""

    def rule(image: Image, site: Site) -> None:
        left = image.left()
        importance = site.received(image)
        importance = {j: float(importance[j]) for j in left}
        metric = site.keys.mean(0)
        # All tokens alternate, prefix tokens included; a token of the first side goes into its best of the second.
        first = [j for i, j in enumerate(left) if (image.prefix + i) % 2 == 0]
        second = [j for i, j in enumerate(left) if (image.prefix + i) % 2 == 1]
        groups = {j: [j] for j in left}
        for j in first if second else []:
            cosine = [float(torch.cosine_similarity(metric[j], metric[other], dim=0)) for other in second]
            best = max(range(len(second)), key=lambda i: cosine[i])
            if cosine[best] > merge[site.cursor]:
                groups[second[best]].append(j)
                groups[j] = []
        x = image.x.clone()
        size = list(image.size)
        for j, members in groups.items():
            if members:
                size[j] = sum(image.size[m] for m in members)
                x[image.prefix + j] = sum(image.size[m] * image.patch(m) for m in members) / size[j]
                importance[j] = max(importance[m] for m in members)
            for m in members:
                image.home = [j if token == m else token for token in image.home]
        image.x, image.size = x, size
        for j, members in groups.items():
            if not members:
                image.alive[j] = False
        ranked = sorted(image.left(), key=lambda j: -importance[j])
        stay = [j for j in ranked if importance[j] > prune[site.cursor]][: site.keep] or ranked[:1]
        for j in image.left():
            if j not in stay:
                image.drop(j)

    return rule


def ltmp_flops(left: list[float], sites: list[int], depth: int, dim: int, patches: int, prefix: int) -> float:
    """Share of the unpruned blocks' multiply-adds: 4 n d^2 + 2 n^2 d of attention, 8 n d^2 of an MLP."""
    total = whole = 0.0
    share = 1.0
    for block in range(depth):
        for half in (0, 1):
            if 2 * block + half in sites:
                share = left[sites.index(2 * block + half)]
            for n, pruned in ((prefix + share * patches, True), (prefix + patches, False)):
                cost = 8 * n * dim**2 if half else 4 * n * dim**2 + 2 * n**2 * dim
                total, whole = (total + cost, whole) if pruned else (total, whole + cost)
    return total / whole


def interpret(token: Tensor, weights: dict[str, Tensor], heads: int) -> float:
    """IA-RED2's informative score of a token (Pan et al. 2021)."""

    def project(name: str, value: Tensor) -> Tensor:
        value = weights[f"{name}.0.weight"] @ value + weights[f"{name}.0.bias"]
        value = (value - value.mean()) / (value.var(unbiased=False) + 1e-5).sqrt()
        value = value * weights[f"{name}.1.weight"] + weights[f"{name}.1.bias"]
        return value * 0.5 * (1 + torch.erf(value / math.sqrt(2)))

    query, key = project("query", weights["policy"]), project("key", token)
    width = len(token) // heads
    score = 0.0
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        score += torch.sigmoid(query[part] @ key[part] / math.sqrt(width)).item() / heads
    return score


def ia_red2(weights: dict[int, dict[str, Tensor]], heads: int) -> Rule:
    def rule(image: Image, site: Site) -> None:
        score = {j: interpret(image.patch(j), weights[site.cursor], heads) for j in image.left()}
        ranked = sorted(score, key=lambda j: -score[j])
        stay = [j for j in ranked if score[j] > 0.5][: site.keep] or ranked[:1]
        for j in image.left():
            if j not in stay:
                image.drop(j)

    return rule
