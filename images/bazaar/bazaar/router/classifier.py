"""The classifier: multinomial logistic regression over hashed n-grams, its probabilities calibrated by a temperature.

Weights are 8-bit integers, so a text's score is a sum of integers and the same on every machine. The temperature makes
a probability mean what it says (Guo et al., "On Calibration of Modern Neural Networks", 2017); only then may a
threshold on it decide that no language model needs to be asked.
"""

import hashlib
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bazaar.faults import fault
from bazaar.router.features import features

WEIGHTS = Path(__file__).with_name("weights.npz")
PREVIOUS = WEIGHTS.with_name("previous.npz")
OTHER = "other"
"""The label of what is out of scope. It never exits: what to say to it is for the language model to find."""


@dataclass(frozen=True)
class Decision:
    """Which agent a text is for. `exit` is whether that is sure enough to be final."""

    agent: str
    exit: bool
    probabilities: dict[str, float]
    """Of every label, to 6 digits; the decision follows from these and nothing finer."""


@dataclass(frozen=True)
class Classifier:
    """Trained weights. `version` is the SHA-256 of the file that they are from."""

    version: str
    labels: list[str]
    table: NDArray[np.int8]
    """One row for each bucket, one column for each label, in units of `scale`."""
    scale: NDArray[np.float64]
    bias: NDArray[np.float64]
    temperature: float
    threshold: float
    card: dict[str, float]
    """What was measured when it was trained, on generated texts."""

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Self:
        """Read a file of weights. Raises OSError, KeyError or ValueError if it is none."""
        content = path.read_bytes()
        version = hashlib.sha256(content).hexdigest()
        if fault("router_stale_model") is not None:
            content = PREVIOUS.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as part:
            numbers = (part["table"], part["scale"], part["bias"], float(part["temperature"]), float(part["threshold"]))
            return cls(version, part["labels"].tolist(), *numbers, json.loads(str(part["card"])))

    def decide(self, text: str) -> Decision:
        """Decide on a text; any text will do."""
        buckets = features(text)
        sums = self.table[buckets].sum(axis=0, dtype=np.int64)
        logits = sums * self.scale / math.sqrt(max(len(buckets), 1)) + self.bias
        temperature = self.temperature if fault("router_no_temperature") is None else 1.0
        powers = [math.exp(x) for x in (logits - logits.max()) / temperature]
        probabilities = {x: round(p / sum(powers), 6) for x, p in zip(self.labels, powers, strict=True)}
        if fault("router_labels_swapped") is not None:
            probabilities |= {"order": probabilities["cancel"], "cancel": probabilities["order"]}
        agent = max(probabilities, key=probabilities.__getitem__)
        sure = probabilities[agent] >= self.threshold
        return Decision(agent, sure and (agent != OTHER or fault("router_oos_exits") is not None), probabilities)
