"""Published rows beside ours."""

import pytest

from hepcnn.errors import InputError
from hepcnn.evaluation.published import PUBLISHED, TEST_JETS, describe_published, find_published
from hepcnn.evaluation.tables import METRICS, make_published_cells


def test_the_landscapes_rows_keep_their_digits_and_source() -> None:
    cells = {line[0].text: [cell.text for cell in line[1:]] for line in make_published_cells(find_published("toptag"))}
    assert cells["CNN (arXiv:1902.09914, 9 trainings)"] == ["0.931", "0.9814", "914 ± 14 (seed)", "–", "–", "–"]
    assert not any(cell.bold for line in make_published_cells(find_published("toptag")) for cell in line)


def test_every_published_number_belongs_to_a_column() -> None:
    assert set(TEST_JETS) == set(PUBLISHED)
    for rows in PUBLISHED.values():
        for row in rows:
            assert set(row.values) <= set(METRICS)
            assert row.source.startswith("arXiv:")


def test_a_page_says_whether_ours_are_about_the_same_jets() -> None:
    assert "compare with care" in describe_published("toptag", 2000)
    assert "compare with care" not in describe_published("toptag", 403_990)
    with pytest.raises(InputError, match="did you mean 'toptag'"):
        find_published("toptags")
