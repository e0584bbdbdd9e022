"""Slow, obvious re-implementations of methods that learn, of one image at a time, in numpy float64."""

import math

import numpy as np


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def layer_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    return (x - x.mean()) / math.sqrt(x.var() + eps) * scale + shift


def ranked(score: list[float]) -> list[int]:
    """Highest first, ties in order."""
    return sorted(range(len(score)), key=lambda j: (-score[j], j))


def patchmerger(x, weight, queries, scale, shift):
    """New tokens, and for each old one the new one that takes the largest share from it."""
    normed = np.stack([layer_norm(row, scale, shift) for row in x])
    heavy = np.log(weight)
    shares = np.stack([softmax(np.array([q @ row for row in normed]) + heavy) for q in queries])
    return shares @ normed, [int(shares[:, j].argmax()) for j in range(len(x))]


def sinkhorn(x, weight, centres, eps, iterations):
    """Plain Sinkhorn scaling, not in logarithms."""
    k, n = len(centres), len(x)
    unit = np.stack([row / np.linalg.norm(row) for row in x])
    kernel = np.array([[math.exp(cosine(centre, row) / eps) for row in x] for centre in centres])
    rows, columns = np.ones(k), np.array(weight)
    for _ in range(iterations):
        for i in range(k):
            rows[i] = 1 / (n + k) / sum(kernel[i, j] * columns[j] for j in range(n))
        for j in range(n):
            columns[j] = weight[j] / (n + k) / sum(kernel[i, j] * rows[i] for i in range(k))
    shares = (n + k) * rows[:, None] * kernel * columns
    return shares @ unit, [int(shares[:, j].argmax()) for j in range(n)]


def cropr(x, query, keep):
    """Which tokens stay, in image order."""
    return sorted(ranked([float(row @ query) for row in x])[:keep])


def cropr_answer(x, query, first, second, mlp_norm, head_norm, head):
    """The classifier's logits. first, second, head: weight and bias; the norms: scale and shift."""
    share = softmax(x @ query / math.sqrt(x.shape[1]))
    mixed = sum(a * row for a, row in zip(share, x, strict=True))
    hidden = first[0] @ layer_norm(mixed, *mlp_norm) + first[1]
    hidden = np.array([0.5 * z * (1 + math.erf(z / math.sqrt(2))) for z in hidden])
    mixed = mixed + second[0] @ hidden + second[1]
    return head[0] @ layer_norm(mixed, *head_norm) + head[1]


def bipartite(x, weight, metric, prefix, keep):
    """ToMe of one site: new tokens, their weights, and where each old one went."""
    tokens = [(row, w, m, [j]) for j, (row, w, m) in enumerate(zip(x, weight, metric, strict=True))]
    while len(tokens) > keep:
        a = [j for j in range(len(tokens)) if j % 2 == prefix % 2]
        b = [j for j in range(len(tokens)) if j % 2 != prefix % 2]
        best = [max((cosine(tokens[i][2], tokens[j][2]), -place) for place, j in enumerate(b)) for i in a]
        going = ranked([similarity for similarity, _ in best])[: len(tokens) - keep]
        groups = {j: [tokens[j]] for j in b}
        for g in going:
            groups[b[-best[g][1]]].append(tokens[a[g]])
        tokens = [tokens[i] for g, i in enumerate(a) if g not in going] + [_joined(groups[j]) for j in b]
    into = {j: place for place, token in enumerate(tokens) for j in token[3]}
    return np.stack([t[0] for t in tokens]), [t[1] for t in tokens], [into[j] for j in range(len(x))]


def _joined(group):
    total = sum(w for _, w, _, _ in group)
    return (
        sum(w * row for row, w, _, _ in group) / total,
        total,
        sum(w * m for _, w, m, _ in group) / total,
        [j for *_, members in group for j in members],
    )


def soft_bipartite(x, weight, metric, prefix, part, keep, partners, similarity_temperature, choice_temperature):
    """DTEM in training: tokens, weights, and which old token each place holds."""
    x, weight, metric, source = list(x), list(weight), list(metric), list(range(len(x)))
    while part > keep:
        a = [j for j in range(part) if j % 2 == prefix % 2]
        b = [j for j in range(part) if j % 2 != prefix % 2]
        r = min(part - keep, len(a))
        edges = {}
        for i in a:
            similar = [cosine(metric[i], metric[j]) for j in b]
            for place in ranked(similar)[:partners]:
                edges[i, b[place]] = similar[place] / similarity_temperature
        chosen = dict.fromkeys(edges, 0.0)
        for _ in range(r):
            soft = softmax(np.array(list(edges.values())) / choice_temperature)
            one = dict(zip(edges, soft, strict=True))
            for i in a:
                left = 1 - sum(share for (source_, _), share in one.items() if source_ == i)
                for edge in edges:
                    if edge[0] == i:
                        edges[edge] += math.log(max(left, np.finfo(np.float64).eps))
            for edge, share in one.items():
                chosen[edge] += share
        for i in a:
            total = sum(share for edge, share in chosen.items() if edge[0] == i)
            for edge in chosen:
                if edge[0] == i and total > 1:
                    chosen[edge] /= total
        new_x, new_weight, new_metric = list(x), list(weight), list(metric)
        for j in b:
            got = [(i, chosen[i, j] * weight[i]) for i in a if (i, j) in chosen]
            new_weight[j] = weight[j] + sum(mass for _, mass in got)
            new_x[j] = (weight[j] * x[j] + sum(mass * x[i] for i, mass in got)) / new_weight[j]
            new_metric[j] = (weight[j] * metric[j] + sum(mass * metric[i] for i, mass in got)) / new_weight[j]
        for i in a:
            given = sum(share for edge, share in chosen.items() if edge[0] == i)
            new_weight[i] = min(weight[i], max(1e-6, weight[i] * (1 - given)))
        candidates = a + b
        order = [candidates[place] for place in ranked([new_weight[j] for j in candidates])]
        order += range(part, len(x))
        x, weight, metric, source = ([values[j] for j in order] for values in (new_x, new_weight, new_metric, source))
        part -= r
    return np.stack(x), weight, source


def expected_number(logits) -> int:
    return max(1, math.ceil(sum((j + 1) * p for j, p in enumerate(softmax(logits))) - 1e-4))


def diffrate(x, weight, score, keep, cut, merge):
    """Tokens in image order, their weights, where each old one went (-1: gone). cut, merge: the learned numbers."""
    n = len(x)
    cut = min(cut, n)
    merge = min(merge, cut)
    share = (cut - merge) / (n - merge) if merge < n else 1.0
    merged = round(share * (n - keep))  # half to even, as torch does
    order = ranked(score)
    stay = sorted(order[:keep])
    groups = {j: [j] for j in stay}
    for j in order[keep : keep + merged]:
        groups[max(stay, key=lambda k: (cosine(x[j], x[k]), -k))].append(j)
    into = {j: place for place, k in enumerate(stay) for j in groups[k]}
    tokens = np.stack([np.mean([x[j] for j in groups[k]], axis=0) for k in stay])
    return tokens, [sum(weight[j] for j in groups[k]) for k in stay], [into.get(j, -1) for j in range(n)]


def diffrate_training(x, weight, score, before, cut, merge):
    """Tokens and weights where all are still there. before: tokens that no earlier site closed."""
    order = sorted(range(len(x)), key=lambda j: (weight[j] < 0.5, -score[j], j))
    middle = min(before, cut)
    last = min(middle, merge)
    tokens, weights = [row.copy() for row in x], list(weight)
    groups = {j: [j] for j in order[:last]}
    for j in order[last:middle]:
        groups[max(sorted(order[:last]), key=lambda k: cosine(x[j], x[k]))].append(j)
        weights[j] = weight[j] * 1e-6
    for j in order[middle:before]:
        weights[j] = weight[j] * 1e-6
    for k, members in groups.items():
        tokens[k] = np.mean([x[j] for j in members], axis=0)
        weights[k] = sum(weight[j] for j in members)
    return np.stack(tokens), weights


def block_flops(depth, dim, prefix, patches, sites, left) -> float:
    """Multiply-adds of the blocks, with so many patch tokens after each site."""
    n, total = patches, 0
    for cursor in range(2 * depth):
        if cursor in sites:
            n = left[sites.index(cursor)]
        s = n + prefix
        total += 2 * s * 4 * dim * dim if cursor % 2 else 4 * s * dim * dim + 2 * s * s * dim
    return total


def slimming(maps, entered, prefix, patches, counts, class_token):
    """Masks of scores from one batch: maps[site][image] is [h, s, s], entered[site][image] is [s, c], all tokens there.

    Returns the mean score of each patch at each site, and each site's set of patches.
    """
    sites, images = len(maps), len(maps[0])
    size = prefix + patches
    paths = [np.eye(size)[:1] if class_token else np.eye(size) for _ in range(images)]
    scores, masks = [None] * sites, [None] * sites
    for site in reversed(range(sites)):
        mean = np.zeros(patches)
        for image in range(images):
            score = np.zeros(patches)
            for attention in maps[site][image]:
                reach, mixed = paths[image] @ attention, attention @ np.abs(entered[site][image])
                for j in range(patches):
                    column, row = reach[:, prefix + j], mixed[prefix + j]
                    score[j] += (math.sqrt(column @ column) * math.sqrt(row @ row)) ** 2
            mean += score / score.sum() / images
        deeper = masks[site + 1] if site + 1 < sites else set()
        rest = [j for j in ranked(list(mean)) if j not in deeper]
        masks[site] = deeper | set(rest[: counts[site] - len(deeper)])
        scores[site] = mean
        for image in range(images):
            paths[image] = paths[image] @ maps[site][image].mean(0)
            for j in range(patches):
                if j not in masks[site]:
                    paths[image][:, prefix + j] = 0
    return scores, masks
