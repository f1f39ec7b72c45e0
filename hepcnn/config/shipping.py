"""What a bundle says to those who use it."""

from hepcnn.records import StrictModel


class BundleConfig(StrictModel):
    """Texts that go into the manifest of each bundle of a study.

    ``licence`` is that of the trained weights, best as an SPDX identifier; ``citation`` what a user should cite, a
    reference or a DOI; ``description`` what the tagger is for. Nothing is assumed where nothing is said.
    """

    licence: str | None = None
    citation: str | None = None
    description: str | None = None
