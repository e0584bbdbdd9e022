"""Merging methods written from their papers and published code: plain loops over the tokens of one image, in float64.

Each reads raw arrays (`Image`) and returns which of the old tokens each new one is made of, and the new tokens.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from reference_models import uniform
from torch import Tensor

Groups = list[list[int]]


@dataclass
class Image:
    """One image at a site: prefix tokens first in tokens, keys and maps; patch tokens alone elsewhere.

    counted: whether weights are in use. embedded: the patch tokens as they entered block 0, all of them.
    """

    block: int
    depth: int
    prefix: int
    grid: tuple[int, int]
    tokens: np.ndarray
    keys: np.ndarray
    maps: np.ndarray
    weights: np.ndarray
    counted: bool
    owner: list[int]
    embedded: np.ndarray
    draws: list[float]

    @property
    def patches(self) -> np.ndarray:
        return self.tokens[self.prefix :]

    @property
    def count(self) -> int:
        return len(self.patches)

    def received(self) -> list[float]:
        """Attention that each patch token receives: mean over heads and over queries, a query counting by weight."""
        queries = np.concatenate([np.ones(self.prefix), self.weights])
        mean = self.maps.mean(axis=0)
        columns = range(self.prefix, len(queries))
        return [sum(queries[i] * mean[i, j] for i in range(len(queries))) / queries.sum() for j in columns]


@dataclass
class Reduced:
    """weights: None where all count for one."""

    patches: np.ndarray
    weights: np.ndarray | None
    owner: list[int]


Method = Callable[[Image, int], Reduced]


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y) / (math.sqrt(float(x @ x)) * math.sqrt(float(y @ y)))


def falling(values: list[float]) -> list[int]:
    """Indices from the largest to the smallest; the first of equal ones first."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))


def owners(image: Image, groups: Groups) -> list[int]:
    """The new token of each patch; -1 where its token is in none."""
    home = {token: new for new, group in enumerate(groups) for token in group}
    return [home.get(token, -1) for token in image.owner]


def mean_of(image: Image, groups: Groups, by: np.ndarray) -> Reduced:
    """Each group becomes its mean by these weights, and counts for what its members count for."""
    patches = [sum(by[j] * image.patches[j] for j in group) / sum(by[j] for j in group) for group in groups]
    weights = [sum(image.weights[j] for j in group) for group in groups]
    return Reduced(np.array(patches), np.array(weights), owners(image, groups))


def metric_mean(metric: np.ndarray, weights: np.ndarray, groups: Groups) -> np.ndarray:
    return np.array([sum(weights[j] * metric[j] for j in g) / sum(weights[j] for j in g) for g in groups])


def composed(outer: Groups, inner: Groups) -> Groups:
    """Groups of groups, as groups of the first tokens."""
    return [[token for j in group for token in inner[j]] for group in outer]


# --- ToMe -----------------------------------------------------------------------------------------------------------


def soft_matching(metric: np.ndarray, prefix: int, r: int) -> tuple[Groups, list[int]]:
    """One round over all tokens, prefix included, as the published code has it: tokens at even places go to odd ones.

    Returns the groups in its order, as indices of all tokens, and the one that each group is called by.
    """
    s = len(metric)
    even, odd = list(range(0, s, 2)), list(range(1, s, 2))
    best, partner = [], []
    for i in even:
        row = [-math.inf if i < prefix or j < prefix else cosine(metric[i], metric[j]) for j in odd]
        best.append(max(row))
        partner.append(row.index(max(row)))
    order = falling(best)
    r = min(r, len([i for i in even if i >= prefix]))  # the published code stops at half, rounded down
    gone, stay = order[:r], order[r:]
    if prefix:
        stay = sorted(stay)
    groups = {j: [j] for j in odd}
    for i in gone:
        groups[odd[partner[i]]].append(even[i])
    first = [even[i] for i in stay]
    if prefix > 1:  # as with a distillation token, the prefix tokens of both sides come first
        names = [i for i in first if i < prefix] + [j for j in odd if j < prefix]
        names = sorted(names) + [i for i in first if i >= prefix] + [j for j in odd if j >= prefix]
    else:
        names = first + odd
    return [groups.get(name, [name]) for name in names], names


def tome_groups(image: Image, keep: int) -> Groups:
    metric, weights = image.keys.mean(axis=0), np.concatenate([np.ones(image.prefix), image.weights])
    all_groups = [[i] for i in range(len(metric))]
    while len(all_groups) - image.prefix > keep:
        groups, _ = soft_matching(metric, image.prefix, len(all_groups) - image.prefix - keep)
        all_groups = composed(groups, all_groups)
        metric = metric_mean(metric, weights, groups)
        weights = np.array([sum(weights[j] for j in group) for group in groups])
    assert all_groups[: image.prefix] == [[i] for i in range(image.prefix)]
    return [[i - image.prefix for i in group] for group in all_groups[image.prefix :]]


def tome(image: Image, keep: int) -> Reduced:
    return mean_of(image, tome_groups(image, keep), image.weights)


# --- EViT -----------------------------------------------------------------------------------------------------------


def evit(image: Image, keep: int, class_token: bool = True) -> Reduced:
    """keep - 1 tokens of largest class attention, and the sum of the others, each times its attention."""
    score = list(image.maps.mean(axis=0)[0, image.prefix :]) if class_token else image.received()
    order = falling(score)
    stay, others = sorted(order[: keep - 1]), order[keep - 1 :]
    fused = np.zeros(image.tokens.shape[1])
    for j in others:
        fused += score[j] * image.patches[j]
    groups = [[j] for j in stay] + [others]
    patches = np.array([*(image.patches[j] for j in stay), fused])
    weights = np.array([*(image.weights[j] for j in stay), 1.0]) if image.counted else None
    return Reduced(patches, weights, owners(image, groups))


# --- ToFu -----------------------------------------------------------------------------------------------------------


def tofu(image: Image, keep: int) -> Reduced:
    prefix, patches = image.prefix, image.patches
    metric, weights = image.keys.mean(axis=0), np.concatenate([np.ones(prefix), image.weights])
    members = [[i] for i in range(image.count)]
    while len(members) > keep:
        groups, names = soft_matching(metric, prefix, len(members) - keep)
        own = [[i - prefix for i in group] for group in groups[prefix:]]
        if image.block < image.depth / 2:  # only who gives a group its name stays
            own = [[i - prefix] for i in names[prefix:]]
            metric, weights = metric[names], weights[names]
            patches = np.array([patches[i] for (i,) in own])
        else:
            merged = []
            for group in own:
                mean = sum(weights[prefix + j] * patches[j] for j in group) / sum(weights[prefix + j] for j in group)
                largest = max(math.sqrt(patches[j] @ patches[j]) for j in group)
                merged.append(mean / math.sqrt(mean @ mean) * largest)
            patches = np.array(merged)
            metric = metric_mean(metric, weights, groups)
            weights = np.array([sum(weights[j] for j in group) for group in groups])
        members = composed(own, members)
    counted = image.counted or image.block >= image.depth / 2
    return Reduced(patches, weights[prefix:] if counted else None, owners(image, members))


# --- PiToMe ---------------------------------------------------------------------------------------------------------


def pitome(image: Image, keep: int, margin: float = 0.75) -> Reduced:
    metric, weights = image.keys.mean(axis=0)[image.prefix :], image.weights
    members = [[i] for i in range(image.count)]
    m = margin * (1 - image.block / image.depth)
    while len(members) > keep:
        n = len(members)
        r = min(n - keep, n // 2)
        energies = []
        for i in range(n):
            excess = [cosine(metric[i], metric[j]) - m for j in range(n)]
            energies.append(sum(x if x >= 0 else math.exp(x) - 1 for x in excess) / n)
        order = falling(energies)
        if image.block >= image.depth / 2:
            order = order[: 2 * r]
        first, second = order[0::2], order[1::2]
        edges = []
        for place, i in enumerate(first):
            similar = [cosine(metric[i], metric[j]) for j in second]
            edges.append((-max(similar), place, i, second[similar.index(max(similar))]))
        goes = {i: j for _, _, i, j in sorted(edges)[:r]}
        groups = [[i, *(j for j in goes if goes[j] == i)] for i in range(n) if i not in goes]
        metric = metric_mean(metric, weights, groups)
        weights = np.array([sum(weights[j] for j in group) for group in groups])
        members = composed(groups, members)
    return mean_of(image, members, image.weights)


# --- MCTF -----------------------------------------------------------------------------------------------------------


def mctf(image: Image, keep: int, similarity: float = 1, information: float = 20, size: float = 40) -> Reduced:
    """Over all tokens, prefix included, as the published code has it; tokens at even places are the first side."""
    prefix, x = image.prefix, image.patches
    attention, weights = np.array(image.received()), image.weights
    members = [[i] for i in range(image.count)]

    def score(i: int, j: int) -> float:
        value = 1.0
        if similarity:
            value *= ((1 + cosine(x[i], x[j])) / 2) ** (1 / similarity)
        if information:
            u = [1 / a for a in attention]
            value *= (u[i] / max(u) * u[j] / max(u)) ** (1 / information)
        if size:
            v = [1 / w for w in weights]
            value *= (v[i] / max(v) * v[j] / max(v)) ** (1 / size)
        return value

    while len(members) > keep:
        n = len(members)
        r = min(n - keep, n // 2)
        first = [i for i in range(n) if (prefix + i) % 2 == 0]
        second = [i for i in range(n) if (prefix + i) % 2 == 1]
        scores = {(i, j): score(i, j) for i in first for j in second}
        best = [max(scores[i, j] for j in second) for i in first]
        order = falling(best)
        gone, rest = order[: r // 2], order[r // 2 :]
        rest = [first[k] for k in (sorted(rest) if prefix else rest)]
        goes = {}
        for k in gone:
            goes[first[k]] = next(j for j in second if scores[first[k], j] == best[k])
        best = [max(scores[i, j] for i in rest) for j in second]
        order = falling(best)
        for k in order[: r - r // 2]:
            goes[second[k]] = next(i for i in rest if scores[i, second[k]] == best[k])
        names = rest + [second[k] for k in order[r - r // 2 :]]

        def end(i: int, goes: dict[int, int] = goes) -> int:
            return end(goes[i], goes) if i in goes else i

        groups = [[i for i in range(n) if end(i) == name] for name in names]
        by = attention * weights
        x = np.array([sum(by[j] * x[j] for j in group) / sum(by[j] for j in group) for group in groups])
        weights = np.array([sum(weights[j] for j in group) for group in groups])
        attention = np.array([sum(attention[j] for j in group) for group in groups])
        members = composed(groups, members)
    return Reduced(x, weights, owners(image, members))


# --- GTP ------------------------------------------------------------------------------------------------------------


def graph_of(image: Image, graph: str, neighbours: int) -> np.ndarray:
    t, (_, columns) = len(image.embedded), image.grid
    joined = np.zeros((t, t))
    for i in range(t):
        if graph in ("spatial", "mixed"):
            for j in range(t):
                rows, across = abs(i // columns - j // columns), abs(i % columns - j % columns)
                if i != j and rows <= 1 and across <= 1:
                    joined[i, j] = 1
        if graph in ("semantic", "mixed"):
            similar = [-math.inf if i == j else cosine(image.embedded[i], image.embedded[j]) for j in range(t)]
            for j in falling(similar)[: min(neighbours, t - 1)]:
                joined[i, j] = 1
    degree = joined.sum(axis=1)
    return np.array([[joined[i, j] / math.sqrt(degree[i] * degree[j]) for j in range(t)] for i in range(t)])


def gtp(image: Image, keep: int, graph: str = "spatial", neighbours: int = 8, alpha: float = 0.1) -> Reduced:
    p, heads = image.prefix, range(len(image.maps))
    scores = []
    for j in range(image.count):
        itself = max(image.maps[h][p + j][p + j] for h in heads)
        received = max(sum(image.maps[h][i][p + j] for i in range(p + image.count)) for h in heads)
        scores.append(itself * received)
    order = falling(scores)
    stay, gone = sorted(order[:keep]), order[keep:]
    weight = graph_of(image, graph, neighbours)
    patch = {token: t for t, token in reversed(list(enumerate(image.owner))) if token >= 0}
    patches, weights = [], []
    for i in stay:
        patches.append(image.patches[i] + alpha * sum(weight[patch[i], patch[j]] * image.patches[j] for j in gone))
        weights.append(image.weights[i] + alpha * sum(weight[patch[i], patch[j]] * image.weights[j] for j in gone))
    return Reduced(np.array(patches), np.array(weights), owners(image, [[i] for i in stay]))


# --- Clustering -----------------------------------------------------------------------------------------------------


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return math.sqrt(float((x - y) @ (x - y)))


def nearest(image: Image, centres: list[int]) -> Groups:
    """The tokens of each centre; a centre is its own."""
    groups: dict[int, list[int]] = {centre: [centre] for centre in centres}
    for i in range(image.count):
        if i not in groups:
            groups[min(centres, key=lambda c: distance(image.patches[i], image.patches[c]))].append(i)
    return [groups[centre] for centre in centres]


def dpcknn(image: Image, keep: int, neighbours: int = 5, importance: Callable | None = None) -> Reduced:
    x, n, c = image.patches, image.count, image.patches.shape[1]
    d = [[distance(x[i], x[j]) / math.sqrt(c) for j in range(n)] for i in range(n)]
    density = []
    for i in range(n):
        close = sorted(d[i])[:neighbours]
        density.append(math.exp(-sum(value**2 for value in close) / len(close)) + 1e-6 * image.draws[i])
    largest = max(max(row) for row in d)
    scores = [density[i] * min([d[i][j] for j in range(n) if density[j] > density[i]] or [largest]) for i in range(n)]
    groups = nearest(image, sorted(falling(scores)[:keep]))
    by = image.weights * np.array([1.0 if importance is None else math.exp(importance(token)) for token in x])
    return replace(mean_of(image, groups, by), weights=None)


def kmedoids(image: Image, keep: int, rounds: int = 3) -> Reduced:
    weight = image.received()
    medoids = falling(weight)[:keep]
    for _ in range(rounds):
        groups = nearest(image, medoids)
        medoids = []
        for group in groups:

            def cost(i: int, group: list[int] = group) -> float:
                return sum(weight[j] * distance(image.patches[i], image.patches[j]) for j in group)

            medoids.append(min(sorted(group), key=cost))
    stay = sorted(medoids)
    weights = np.array([image.weights[i] for i in stay]) if image.counted else None
    return Reduced(np.array([image.patches[i] for i in stay]), weights, owners(image, [[i] for i in stay]))


def atc(image: Image, keep: int, linkage: str = "average", proportional: bool = True) -> Reduced:
    metric = image.keys.mean(axis=0)[image.prefix :]
    clusters = [[i] for i in range(image.count)]
    apart = [[1 - cosine(x, y) for y in metric] for x in metric]
    while len(clusters) > keep:
        best = (math.inf, 0, 0)
        for i in range(len(clusters)):
            for j in range(i):
                pairs = [apart[a][b] for a in clusters[i] for b in clusters[j]]
                value = {"average": sum(pairs) / len(pairs), "complete": max(pairs), "single": min(pairs)}[linkage]
                best = min(best, (value, i, j))
        _, i, j = best
        clusters[j] += clusters.pop(i)
    clusters = sorted(clusters, key=min)
    if proportional:
        return mean_of(image, clusters, image.weights)
    return replace(mean_of(image, clusters, np.ones(image.count)), weights=None)


# --- The whole model, a method at its sites --------------------------------------------------------------------------


def attention(attn, y: Tensor, weights: list[float]) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Output, maps [h, s, s] and keys [h, s, d] of one image; a token of weight w is attended to as w tokens are."""
    s, heads, d = len(y), attn.num_heads, attn.head_dim
    qkv = attn.qkv(y).reshape(s, 3, heads, d)
    maps, keys, outs = np.zeros((heads, s, s)), np.zeros((heads, s, d)), np.zeros((s, heads, d))
    for h in range(heads):
        q, k, v = attn.q_norm(qkv[:, 0, h]).numpy(), attn.k_norm(qkv[:, 1, h]).numpy(), qkv[:, 2, h].numpy()
        keys[h] = k
        for i in range(s):
            logits = [float(q[i] @ k[j]) / math.sqrt(d) for j in range(s)]
            most = max(logits)
            shares = [w * math.exp(logit - most) for w, logit in zip(weights, logits, strict=True)]
            maps[h, i] = np.array(shares) / sum(shares)
            outs[i, h] = sum(maps[h, i, j] * v[j] for j in range(s))
    return attn.proj(torch.from_numpy(outs.reshape(s, heads * d))), maps, keys


@torch.no_grad()
def forward(
    vit,
    images: Tensor,
    moment: str,
    sites: dict[int, int],
    method: Method,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, list[list[Reduced]]]:
    """Logits, and what each image was reduced to at each site, through a timm model in float64, image by image.

    sites: how many patch tokens stay at each block. weights: [b, n], with which tokens enter block 0.
    """
    logits, found = [], []
    for index, x in enumerate(vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))):
        own = None if weights is None else weights[index]
        answer, reduced = _one(vit, x, moment, sites, method, own, lambda c, p, index=index: uniform(seed, index, c, p))
        logits.append(answer.numpy())
        found.append(reduced)
    return np.array(logits), [list(site) for site in zip(*found, strict=True)]


def _one(
    vit, x: Tensor, moment: str, sites: dict[int, int], method: Method, weights: np.ndarray | None, draw
) -> tuple[Tensor, list[Reduced]]:
    prefix = vit.num_prefix_tokens
    embedded = x[prefix:].numpy()
    now, found = Reduced(embedded, weights, list(range(len(embedded)))), []

    def counts() -> np.ndarray:
        return np.ones(len(now.patches)) if now.weights is None else now.weights

    def attended(block) -> tuple[Tensor, np.ndarray, np.ndarray]:
        return attention(block.attn, block.norm1(x), [1.0] * prefix + list(counts()))

    def reduced(i: int, maps: np.ndarray, keys: np.ndarray) -> Reduced:
        cursor = 2 * i + (moment == "after")
        first = [min((t for t, j in enumerate(now.owner) if j == new), default=-1) for new in range(len(counts()))]
        image = Image(
            block=i,
            depth=len(vit.blocks),
            prefix=prefix,
            grid=vit.patch_embed.grid_size,
            tokens=x.numpy(),
            keys=keys,
            maps=maps,
            weights=counts(),
            counted=now.weights is not None,
            owner=now.owner,
            embedded=embedded,
            draws=[draw(cursor, p) for p in first],
        )
        found.append(method(image, sites[i]) if sites[i] < image.count else replace(now, patches=image.patches))
        return found[-1]

    for i, block in enumerate(vit.blocks):
        if moment == "before" and i in sites:
            now = reduced(i, *attended(block)[1:])
            x = torch.cat([x[:prefix], torch.from_numpy(now.patches)])
        out, maps, keys = attended(block)
        x = x + block.ls1(out)
        if moment == "after" and i in sites:
            now = reduced(i, maps, keys)
            x = torch.cat([x[:prefix], torch.from_numpy(now.patches)])
        x = x + block.ls2(block.mlp(block.norm2(x)))
    x = vit.norm(x)
    if hasattr(vit, "head_dist"):
        return (vit.head(x[0]) + vit.head_dist(x[1])) / 2, found
    if vit.global_pool == "token":
        return vit.head(vit.fc_norm(x[0])), found
    pooled = sum(w * token for w, token in zip(counts(), x[prefix:], strict=True)) / counts().sum()
    return vit.head(vit.fc_norm(pooled)), found
