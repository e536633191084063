"""The kernels as loops over single pairs in numpy float64, from the formulas of the specification alone."""

from __future__ import annotations

import numpy as np


def contrast(
    anchors, candidates, scale, *, lists=None, row_weight=None, valid=None, excluded=None, form="out"
):
    """`lists`: [(candidate, weight), ...] of each row; `excluded`: set of (row, candidate)."""
    rows, columns = len(anchors), len(candidates)
    row_weight = np.ones(rows) if row_weight is None else row_weight
    valid = np.ones(columns, bool) if valid is None else valid
    total = 0.0
    for i in range(rows):
        if row_weight[i] <= 0:
            continue
        targets = {}
        for j, y in [(i, 1.0)] if lists is None else lists[i]:
            if j >= 0 and y > 0 and valid[j]:
                targets[j] = targets.get(j, 0.0) + y
        z = [float(scale) * sum(x * y for x, y in zip(anchors[i], candidates[j])) for j in range(columns)]
        seen = [j for j in range(columns) if valid[j] and (j in targets or (i, j) not in (excluded or set()))]
        negatives = [j for j in seen if j not in targets]
        if not targets:
            continue
        if form == "out":
            loss = sum(y * (logsumexp([z[j] for j in seen]) - z[k]) for k, y in targets.items())
        elif form == "in":
            loss = logsumexp([z[j] for j in seen]) - logsumexp([z[j] for j in targets])
        else:
            rest = [z[j] for j in negatives]
            loss = (
                sum(y * np.log1p(np.exp(logsumexp(rest) - z[k])) for k, y in targets.items()) if rest else 0.0
            )
        total += row_weight[i] * loss
    norm = sum(row_weight)
    return total / norm if norm > 0 else 0.0


def logsumexp(values):
    top = max(values)
    return top + np.log(sum(np.exp(v - top) for v in values))


GUIDES = {
    "consensus": ("text", "image", min),
    "union": ("text", "image", max),
    "text": ("text", "text", min),
    "image": ("image", "image", min),
}


def mine(
    image, text, *, rule, direction, k, ignore, threshold, ignore_threshold, banned=frozenset(), usable=None
):
    """Positives, weights and ignored of each row as python lists; `banned`: pairs that are never mined."""
    n = len(image)
    usable = [True] * n if usable is None else usable
    if rule == "swap":
        rule = "text" if direction == "ab" else "image"
    one, other = (image, text) if direction == "ab" else (text, image)
    scores = {"text": table(text, text, usable), "image": table(image, image, usable)}
    scores["cross"] = table(one, other, usable)
    first, second, combine = GUIDES.get(rule, ("cross", "cross", min))
    result = []
    for i in range(n):
        partners = [j for j in range(n) if usable[i] and usable[j] and j != i and (i, j) not in banned]
        agreement = {j: combine(scores[first][i, j], scores[second][i, j]) for j in partners}
        best = sorted((j for j in partners if agreement[j] >= threshold), key=lambda j: (-agreement[j], j))[
            :k
        ]
        parts = np.array([np.exp(agreement[j] / 0.5) for j in best])
        near = sorted(
            (j for j in partners if j not in best and scores[first][i, j] >= ignore_threshold),
            key=lambda j: (-scores[first][i, j], j),
        )[:ignore]
        result.append((best, list(parts / parts.sum()) if best else [], near))
    return result


def table(x, y, usable):
    """Standardised similarities, by all pairs of two different usable rows."""
    n = len(x)
    values = np.array([[float(np.dot(x[i], y[j])) for j in range(n)] for i in range(n)])
    pairs = [values[i, j] for i in range(n) for j in range(n) if i != j and usable[i] and usable[j]]
    return (values - np.mean(pairs)) / np.std(pairs)


def group_patches(patches, sentences, owner, threshold=None):
    result = np.zeros((len(sentences), patches.shape[2]))
    for t, sentence in enumerate(sentences):
        own = patches[owner[t]]
        similarity = np.array([float(np.dot(patch, sentence)) for patch in own])
        share = (similarity - similarity.min()) / (similarity.max() - similarity.min() + 1e-6)
        share[share < (1 / len(own) if threshold is None else threshold)] = 0
        share = share / share.sum() if share.sum() > 0 else np.full(len(own), 1 / len(own))
        pooled = sum(w * patch for w, patch in zip(share, own))
        result[t] = pooled / max(np.linalg.norm(pooled), 1e-6)
    return result


def sigmoid_contrast(anchors, candidates, scale, bias, *, lists, row_weight, valid, excluded):
    """SigLIP: every pair for itself; see `contrast` for the arguments."""
    total = 0.0
    for i, row in enumerate(lists):
        targets = [(j, y) for j, y in row if j >= 0 and y > 0 and valid[j]]
        positive = {j for j, _ in targets}
        x = [float(scale) * float(anchors[i] @ candidate) + bias for candidate in candidates]
        loss = sum(y * np.logaddexp(0, -x[j]) for j, y in targets)
        for j in range(len(candidates)):
            if valid[j] and j not in positive and (i, j) not in excluded:
                loss += np.logaddexp(0, x[j])
        total += row_weight[i] * loss if row_weight[i] > 0 else 0.0
    norm = sum(row_weight)
    return total / norm if norm > 0 else 0.0
