"""Trains the router: fits, rounds to 8 bits, calibrates, chooses the threshold. Only here is scikit-learn needed."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from bazaar.router.classifier import OTHER, Classifier
from bazaar.router.features import BUCKETS, features
from training.corpus import LABELS, Example
from training.measure import measure

PENALTY = 8.0
"""scikit-learn's C. Weak enough to fit, strong enough that the noise in the labels is not learned."""
MISROUTES = 0.008
"""The share of early exits that may be wrong on the validation texts."""


def train(examples: Sequence[Example], validation: Sequence[Example]) -> Classifier:
    """Fit on examples; temperature and threshold are chosen on texts that were not fitted."""
    fitted = LogisticRegression(C=PENALTY, max_iter=400, tol=1e-4)
    fitted.fit(_matrix(examples), [LABELS.index(example.label) for example in examples])
    scale = np.abs(fitted.coef_).max(axis=1) / 127
    table = np.round(fitted.coef_ / scale[:, None]).T.astype(np.int8)
    # Rounded, so that the last bits of a machine's arithmetic do not get into the file.
    raw = Classifier("", list(LABELS), table, scale.round(6), fitted.intercept_.round(4), 1.0, 1.0, {})
    calibrated = replace(raw, temperature=_temperature(raw, validation))
    return replace(calibrated, threshold=_threshold(calibrated, validation))


def pack(classifier: Classifier) -> bytes:
    """The content of the file of weights. Equal weights give equal bytes."""
    file = io.BytesIO()
    names = ("labels", "table", "scale", "bias", "temperature", "threshold")
    card = json.dumps(classifier.card, sort_keys=True)
    np.savez(file, card=card, **{name: getattr(classifier, name) for name in names})
    return file.getvalue()


def _matrix(examples: Sequence[Example]) -> scipy.sparse.csr_matrix:
    rows = [features(example.text) for example in examples]
    values = [np.full(len(row), 1 / np.sqrt(max(len(row), 1))) for row in rows]
    ends = np.cumsum([0, *map(len, rows)])
    return scipy.sparse.csr_matrix((np.concatenate(values), np.concatenate(rows), ends), (len(rows), BUCKETS))


def _temperature(raw: Classifier, validation: Sequence[Example]) -> float:
    """The temperature with the least negative log-likelihood."""
    logits = _matrix(validation) @ (raw.table * raw.scale) + raw.bias
    labels = [LABELS.index(example.label) for example in validation]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]))

    return round(float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)), 3)


def _threshold(classifier: Classifier, validation: Sequence[Example]) -> float:
    """The lowest threshold, in steps of 0.005, with few enough misroutes among the exits."""
    labels = [example.label for example in validation]
    decisions = [classifier.decide(example.text) for example in validation]
    for threshold in np.arange(0.3, 1.0, 0.005).round(3).tolist():
        exits = [d.agent != OTHER and d.probabilities[d.agent] >= threshold for d in decisions]
        found = measure(labels, [replace(d, exit=e) for d, e in zip(decisions, exits, strict=True)])
        if found["misroutes"] <= MISROUTES * found["exits"]:
            return float(threshold)
    raise RuntimeError(f"no threshold has at most {MISROUTES:.1%} misroutes")
