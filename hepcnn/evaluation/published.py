"""What others published on reference samples, to stand beside our rows."""

from collections.abc import Mapping
from dataclasses import dataclass

from hepcnn.errors import InputError, did_you_mean


@dataclass(frozen=True)
class PublishedRow:
    """One tagger's published numbers.

    Attributes
    ----------
    name
        Of the tagger.
    values
        By metric of `hepcnn.evaluation.tables.METRICS`: the value and its error, None where none was given. The errors
        are spreads over trainings, not statistical.
    n_trainings
        How many trainings they rest on.
    source
        Where they stand.
    """

    name: str
    values: Mapping[str, tuple[float, float | None]]
    n_trainings: int
    source: str


_LANDSCAPE = "arXiv:1902.09914"


def _row(name: str, accuracy: float, auc: float, rejection: float, error: float) -> PublishedRow:
    values = {"accuracy": (accuracy, None), "auc": (auc, None), "rejection_0.3": (rejection, error)}
    return PublishedRow(name, values, 9, _LANDSCAPE)


PUBLISHED: Mapping[str, tuple[PublishedRow, ...]] = {
    "toptag": (
        _row("ParticleNet", 0.938, 0.9848, 1298, 46),
        _row("ResNeXt-50", 0.936, 0.9837, 1122, 47),
        _row("TreeNiN", 0.933, 0.9824, 1025, 11),
        _row("CNN", 0.931, 0.9814, 914, 14),
        _row("PFN", 0.932, 0.9819, 891, 18),
        _row("TopoDNN", 0.916, 0.9713, 295, 5),
    ),
}
"""``toptag``: accuracy and AUC are those of the training with the median AUC; the rejection is the median."""

TEST_JETS: Mapping[str, int] = {"toptag": 404_000}
"""Jets of the test sample that the published numbers are about."""


def find_published(sample: str) -> tuple[PublishedRow, ...]:
    """The published rows of a sample.

    Raises
    ------
    InputError
        For a sample of which none are known.
    """
    if sample not in PUBLISHED:
        raise InputError(f"no published results on '{sample}' are known here{did_you_mean(sample, PUBLISHED)}")
    return PUBLISHED[sample]


def describe_published(sample: str, n_test: int) -> str:
    """Say what the published rows are, and whether ours are about the same test jets.

    Parameters
    ----------
    sample
        One of `PUBLISHED`.
    n_test
        Test jets of our rows.
    """
    rows = find_published(sample)
    source = ", ".join(dict.fromkeys(row.source for row in rows))
    text = (
        f"Published rows: {source}, {rows[0].n_trainings} trainings each; the error is the standard deviation of "
        f"single trainings, without the statistical error of the test jets."
    )
    expected = TEST_JETS[sample]
    # Images leave out a jet or two that have nothing in the window.
    if abs(n_test - expected) > 0.01 * expected:
        text += f" They are about {expected:,} test jets; ours are only {n_test:,}, so compare with care."
    return text
