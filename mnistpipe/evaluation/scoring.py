"""Scores of a network on labelled pictures.

Pictures are float32 [N, H, W, C] as the network was trained on them, without
the random part of the augmentation; labels are int64 [N] in [0, classes);
probabilities float [N, classes], rows adding up to 1.
"""

import dataclasses
import math
import statistics
from typing import Any

import numpy as np

from mnistpipe.runs.record import ClassScore

BATCH_SIZE = 500  # large enough to keep the cores busy, small enough for memory


@dataclasses.dataclass(frozen=True)
class Scores:
    """Accuracy and mean cross-entropy (nats, no label smoothing)."""

    examples: int
    correct: int
    accuracy: float
    loss: float
    per_class: tuple[ClassScore, ...]


def predict(network: Any, pictures: np.ndarray) -> np.ndarray:
    """Returns a network's probabilities, float32 [N, classes]."""
    return network.predict(pictures, batch_size=BATCH_SIZE, verbose=0)


def evaluate(network: Any, pictures: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores a network that answers with probabilities."""
    return score(predict(network, pictures), labels)


def score(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores probabilities float [N, classes] against labels int [N].

    The network of a run that diverged answers NaN: such an answer is wrong,
    whatever its argmax, and makes the loss NaN.
    """
    classes = probabilities.shape[1]
    answered = np.isfinite(probabilities).all(axis=1)
    right = answered & (probabilities.argmax(axis=1) == labels)
    examples = np.bincount(labels, minlength=classes)
    correct = np.bincount(labels[right], minlength=classes)
    return Scores(
        examples=len(labels),
        correct=int(correct.sum()),
        accuracy=float(correct.sum() / len(labels)),
        loss=_cross_entropy(probabilities, labels),
        per_class=tuple(
            ClassScore(label, int(n), int(c), float(c / n) if n else None)
            for label, (n, c) in enumerate(zip(examples, correct, strict=True))
        ),
    )


def _cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    # Here, not above: scikit-learn takes a second to import.
    from sklearn import metrics

    if not np.isfinite(probabilities).all():
        return float("nan")
    classes = range(probabilities.shape[1])
    return float(metrics.log_loss(labels, probabilities, labels=list(classes)))


@dataclasses.dataclass(frozen=True)
class Interval:
    """A confidence interval of an accuracy."""

    method: str
    level: float
    low: float
    high: float


def wilson(correct: int, examples: int, level: float = 0.95) -> Interval:
    """Where the accuracy lies, as far as the choice of pictures goes.

    Wilson's score interval (1927), which stays inside [0, 1] and keeps its
    level near 1, where accuracies are and the normal approximation fails.
    With p = correct / n and z the normal quantile:

        (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n)

    Another training of the same recipe varies besides.
    """
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    share, noise = correct / examples, z * z / examples
    middle = (share + noise / 2) / (1 + noise)
    half = (
        z
        * math.sqrt(share * (1 - share) / examples + noise / (4 * examples))
        / (1 + noise)
    )
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Interval("Wilson score", level, low, high)


@dataclasses.dataclass(frozen=True)
class ClassDetail:
    """One class; a share without anything to share is None."""

    label: int
    examples: int
    answers: int
    recall: float | None
    precision: float | None
    f1: float | None


def per_class(
    probabilities: np.ndarray, labels: np.ndarray
) -> tuple[ClassDetail, ...]:
    """Recall, precision and F1 of each class."""
    from sklearn import metrics

    classes = range(probabilities.shape[1])
    answers = probabilities.argmax(axis=1)
    precision, recall, f1, examples = metrics.precision_recall_fscore_support(
        labels, answers, labels=list(classes), zero_division=np.nan
    )

    def share(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    return tuple(
        ClassDetail(
            label=label,
            examples=int(examples[label]),
            answers=int(np.count_nonzero(answers == label)),
            recall=share(recall[label]),
            precision=share(precision[label]),
            f1=share(f1[label]),
        )
        for label in classes
    )


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often label (row) was answered by class (column), int64."""
    from sklearn import metrics

    classes = list(range(probabilities.shape[1]))
    answers = probabilities.argmax(axis=1)
    return metrics.confusion_matrix(labels, answers, labels=classes)


@dataclasses.dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in (low, high]."""

    low: float
    high: float
    examples: int
    confidence: float  # mean
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Whether answers are as often right as they are sure.

    Attributes:
      error: expected calibration error, the mean over all examples of their
        bin's |accuracy - confidence| (Guo et al. 2017, "On calibration of
        modern neural networks").
      confidence: mean probability of the answers.
      bins: the reliability table; bins without examples are left out.
    """

    error: float
    confidence: float
    bins: tuple[Bin, ...]


def calibration(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> Calibration:
    """Compares confidence with accuracy, in bins of equal width."""
    from sklearn.calibration import calibration_curve

    # Averages of float32 may exceed 1 in the last bit.
    confidence = np.clip(probabilities.max(axis=1), 0, 1)
    right = probabilities.argmax(axis=1) == labels
    accuracies, means = calibration_curve(
        right, confidence, pos_label=True, n_bins=bins, strategy="uniform"
    )
    edges = np.linspace(0, 1, bins + 1)
    # The same bins as scikit-learn's, which does not tell how full they are.
    counts = np.bincount(
        np.searchsorted(edges[1:-1], confidence), minlength=bins
    )
    table = tuple(
        Bin(
            low=float(edges[place]),
            high=float(edges[place + 1]),
            examples=int(counts[place]),
            confidence=float(mean),
            accuracy=float(accuracy),
        )
        for place, mean, accuracy in zip(
            np.flatnonzero(counts), means, accuracies, strict=True
        )
    )
    gaps = sum(b.examples * abs(b.accuracy - b.confidence) for b in table)
    return Calibration(
        gaps / len(labels), float(confidence.mean()), tuple(table)
    )


def hardest(
    probabilities: np.ndarray, labels: np.ndarray, count: int
) -> np.ndarray:
    """The examples whose own class got the least probability, least first."""
    own = probabilities[np.arange(len(labels)), labels]
    return np.argsort(own, kind="stable")[:count]
