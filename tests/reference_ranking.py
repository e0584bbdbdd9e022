"""Slow, obvious re-implementations of floors and rankings: one image, one token at a time, tokens really deleted."""

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor


def signals(block, x: Tensor, prefix: int, weight: Tensor | None = None) -> dict[str, np.ndarray]:
    """What a block's attention is made of. maps [b, h, s, s]; keys, values [b, h, n, d]; class, received [b, n]."""
    attn, y = block.attn, block.norm1(x)
    b, s, _ = y.shape
    parts = attn.qkv(y).view(b, s, 3, attn.num_heads, attn.head_dim)
    weights = torch.ones(b, s, dtype=x.dtype)
    if weight is not None:
        weights[:, prefix:] = weight
    maps = torch.empty(b, attn.num_heads, s, s, dtype=x.dtype)
    keys = torch.empty(b, attn.num_heads, s, attn.head_dim, dtype=x.dtype)
    for i in range(b):
        for head in range(attn.num_heads):
            query, keys[i, head] = attn.q_norm(parts[i, :, 0, head]), attn.k_norm(parts[i, :, 1, head])
            for q in range(s):
                shares = [
                    weights[i, j] * torch.exp(query[q] @ keys[i, head, j] / math.sqrt(attn.head_dim)) for j in range(s)
                ]
                maps[i, head, q] = torch.stack(shares) / sum(shares)
    received = (maps.mean(1) * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True)
    values = parts[:, prefix:, 2].transpose(1, 2)
    found = {"maps": maps, "keys": keys[:, :, prefix:], "values": values, "received": received[:, prefix:]}
    found["class"] = maps.mean(1)[:, 0, prefix:]
    return {name: each.detach().numpy() for name, each in found.items()}


def largest(score, keep: int) -> list[int]:
    return sorted(sorted(range(len(score)), key=lambda j: (-score[j], j))[:keep])


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


def central(grid: tuple[int, int], order: float, homes: list[list[int]], keep: int) -> list[int]:
    """homes: the patches in each token."""

    def distance(patch: int) -> float:
        down = abs(patch // grid[1] - (grid[0] - 1) / 2)
        right = abs(patch % grid[1] - (grid[1] - 1) / 2)
        return {1: down + right, 2: math.hypot(down, right), math.inf: max(down, right)}[order]

    far = [np.mean([distance(patch) for patch in home]) for home in homes]
    return sorted(sorted(range(len(homes)), key=lambda j: (round(far[j], 5), j))[:keep])


def coarser(grid: tuple[int, int], most: int) -> tuple[int, int]:
    """Every grid is tried."""
    best, rank = (0, 0), None
    for r in range(1, grid[0] + 1):
        for c in range(1, grid[1] + 1):
            off = min(abs(c - Fraction(r * grid[1], grid[0])), abs(r - Fraction(c * grid[0], grid[1])))
            found = (r * c, -abs(Fraction(c, grid[1]) - Fraction(r, grid[0])), c)
            if r * c <= most and off <= 1 and (rank is None or found > rank):
                best, rank = (r, c), found
    return best


def downsample(x: np.ndarray, before: tuple[int, int], after: tuple[int, int]) -> np.ndarray:
    """x [n, c]. Every token is cut into after[0] x after[1] equal pieces; a cell is the mean of those in it."""
    fine = x.reshape(*before, -1).repeat(after[0], axis=0).repeat(after[1], axis=1)
    cells = []
    for r in range(after[0]):
        for c in range(after[1]):
            own = fine[r * before[0] : (r + 1) * before[0], c * before[1] : (c + 1) * before[1]]
            cells.append(own.reshape(-1, x.shape[1]).mean(0))
    return np.stack(cells)


def cells(grid: tuple[int, int], after: tuple[int, int]) -> list[int]:
    """The cell that most of each patch's pieces are in, the first of equals."""
    found = []
    for patch in range(grid[0] * grid[1]):
        count = np.zeros(after, dtype=int)
        for down in range(after[0]):
            for right in range(after[1]):
                row, column = (patch // grid[1]) * after[0] + down, (patch % grid[1]) * after[1] + right
                count[row // grid[0], column // grid[1]] += 1
        found.append(int(count.argmax()))
    return found


def divprune(x: np.ndarray, keep: int) -> list[int]:
    n = len(x)
    d = [[1 - (cosine(x[min(i, j)], x[max(i, j)])) for j in range(n)] for i in range(n)]
    kept: list[int] = []
    for _ in range(keep):
        best, most = -1, -math.inf
        for j in range(n):
            if j in kept:
                continue
            others = kept or [i for i in range(n) if i != j]
            near = min(d[j][i] for i in others)
            if near > most:
                best, most = j, near
        kept.append(best)
    return sorted(kept)


def vispruner(x: np.ndarray, attention: np.ndarray, keep: int, important: float = 0.5, each: int = 8) -> list[int]:
    order = sorted(range(len(x)), key=lambda j: (-attention[j], j))
    head = math.floor(keep * important)
    stay, rest, number = order[:head], order[head:], keep - head
    if number == 0:
        return sorted(stay)
    while len(rest) > number:
        first, second = rest[0::2], rest[1::2]
        near = {j: max(cosine(x[j], x[i]) for i in second) for j in first}
        by = sorted(first, key=lambda j: -near[j])
        rest = by[min(each, len(rest) - number, len(first)) :] + second
    return sorted(stay + rest)


def page_rank(
    maps: np.ndarray, left: list[int], prefix: int, class_token: bool, rounds: int, variance: tuple[float, float]
) -> dict[int, float]:
    """Of the patch tokens in `left`. maps [h, s, s]; rows and columns of the others are deleted."""
    nodes = [*range(prefix), *(prefix + j for j in left)]
    heads = []
    for full in maps:
        graph = full[np.ix_(nodes, nodes)]
        score = np.ones(len(nodes))
        if class_token:
            score[0] = math.sqrt(len(nodes))
        for _ in range(rounds):
            votes = np.zeros(len(nodes))
            for voter in range(len(nodes)):
                votes += graph[voter] * score[voter]
            score = votes / votes.sum()
        heads.append(score[prefix:])
    spread = [np.var(score / score.mean()) for score in heads]
    good = [score for score, v in zip(heads, spread, strict=True) if variance[0] <= v <= variance[1]] or heads
    return {j: math.sqrt(sum(score[i] ** 2 for score in good) / len(good)) for i, j in enumerate(left)}


def zero_tprune(
    maps: np.ndarray,
    keys: np.ndarray,
    keep: int,
    prefix: int,
    class_token: bool,
    rounds: int,
    variance: tuple[float, float] = (0.01, 0.7),
    similar: float = 0.5,
) -> list[int]:
    """maps [h, s, s], keys [h, n, d]."""
    n = keys.shape[1]
    left, gone = list(range(n)), n - keep
    alike = min(round(similar * gone), n // 2)
    if alike:
        rank = page_rank(maps, left, prefix, class_token, 1, variance)
        order = sorted(left, key=lambda j: (rank[j], j))
        less, more = order[: n // 2], order[n // 2 :]
        flat = keys.transpose(1, 0, 2).reshape(n, -1)
        near = {j: max(cosine(flat[j], flat[i]) for i in more) for j in less}
        for j in sorted(less, key=lambda j: -near[j])[:alike]:
            left.remove(j)
    rank = page_rank(maps, left, prefix, class_token, rounds, variance)
    return sorted(sorted(left, key=lambda j: -rank[j])[:keep])


def frequency(
    maps: np.ndarray,
    prefix: int,
    weight: list[float],
    mean_of: list[float],
    homes: list[list[int]],
    grid: tuple[int, int],
    side: int,
    keep: int,
) -> tuple[list[int], list[list[int]]]:
    """Which tokens stay, and which others each window averages. mean_of: tokens that a DC token stands for, 0 else."""
    h, s, _ = maps.shape
    queries = [1.0] * prefix + weight
    high = maps - 1 / s  # A_hp = A - 1 1^T / n
    score = []
    for j in range(len(weight)):
        column = [queries[q] * high[head, q, prefix + j] for head in range(h) for q in range(s)]
        score.append(-math.inf if mean_of[j] else sum(column) / h / sum(queries))
    order = sorted(range(len(weight)), key=lambda j: (-score[j], j))
    while side > 1 and side**2 >= keep:
        side -= 1

    window = cells(grid, (side, side))
    for number in range(keep + 1):
        groups: dict[int, list[int]] = {}
        for j in order[number:]:
            groups.setdefault(window[min(homes[j])], []).append(j)
        if number + len(groups) == keep:
            return sorted(order[:number]), [sorted(groups[key]) for key in sorted(groups)]
    raise AssertionError("no such number")
