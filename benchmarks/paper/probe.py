"""A linear probe after each layer: logistic or ridge regression on the class token joined with the mean patch token."""

from __future__ import annotations

import numpy as np

from benchmarks.paper.tokens import TokenStore

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Inverse regularisation; the one that does best on the calibration part is taken."""


def features(store: TokenStore, split: str, layer: int) -> np.ndarray:
    """(images, 2 width), float32: the class token and the mean of the patch tokens."""
    tokens, prefix = store.at(split, layer).load(), store.model.backbone.tokens.prefix
    first = np.array(tokens[:, 0], np.float32)
    patches = np.stack([np.array(t[prefix:], np.float32).mean(axis=0) for t in tokens])
    return np.concatenate([first, patches], axis=1)


def probe(store: TokenStore, layer: int) -> dict[str, float]:
    """Fit on the training part, choose on the calibration part, score on the test part.

    Returns:
        `test` and `calibration`: accuracy, or mean absolute error; and the `strength` chosen.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    classify = store.data.task == "classification"
    parts = {s: features(store, s, layer) for s in ("train", "calibration", "test")}
    targets = {s: store.at(s, layer).targets.numpy() for s in parts}
    scaler = StandardScaler().fit(parts["train"])
    scaled = {s: scaler.transform(x) for s, x in parts.items()}
    found: list[dict[str, float]] = []
    for strength in STRENGTHS:
        model = (
            LogisticRegression(C=strength, max_iter=2000, tol=1e-3)
            if classify
            else Ridge(alpha=1 / strength, solver="svd")
        )
        model.fit(scaled["train"], targets["train"])
        scores = {s: _score(classify, model.predict(scaled[s]), targets[s]) for s in ("calibration", "test")}
        found.append({**scores, "strength": strength})
    return (max if classify else min)(found, key=lambda f: f["calibration"])


def _score(classify: bool, predicted: np.ndarray, targets: np.ndarray) -> float:
    if classify:
        return float((predicted == targets).mean())
    return float(np.abs(predicted.reshape(targets.shape) - targets).mean())
