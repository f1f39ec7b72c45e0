"""Official splits, and trials with a part of the jets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcnn.config import SplitConfig, parse_model
from hepcnn.data.splits import SPLITS, limit_splits, make_splits, split_by_file
from hepcnn.errors import ConfigError

PATHS = ["/data/train_1.h5", "/data/train_2.h5", "/data/val.h5", "/data/test.h5"]
PATTERNS = {"train": ["train_*.h5"], "val": ["/data/val.h5"], "test": ["test.h5"]}


def test_files_decide_by_name_path_or_pattern() -> None:
    source_file = np.array([3, 0, 1, 2, 0, 3])
    found = split_by_file(source_file, PATHS, PATTERNS)
    assert {name: jets.tolist() for name, jets in found.items()} == {"train": [1, 2, 4], "val": [3], "test": [0, 5]}


def test_each_file_belongs_to_one_split_and_each_pattern_to_a_file() -> None:
    jets = np.zeros(1, int)
    with pytest.raises(ConfigError, match=r"/data/test\.h5 belongs to train and to test"):
        split_by_file(jets, PATHS, PATTERNS | {"train": ["t*.h5"]})
    with pytest.raises(ConfigError, match=r"/data/train_2\.h5 belongs to no split, expected just one of train, val"):
        split_by_file(jets, PATHS, PATTERNS | {"train": ["train_1.h5"]})
    with pytest.raises(ConfigError, match=r"split\.by_file\.val: no file is 'vall\.h5'; did you mean 'val\.h5'"):
        split_by_file(jets, PATHS, PATTERNS | {"val": ["val.h5", "vall.h5"]})
    with pytest.raises(ConfigError, match=r"by_file\.test: List should have at least 1"):
        parse_model(SplitConfig, {"by_file": {"train": ["a"], "val": ["b"], "test": []}}, where="split")


@given(st.integers(0, 5000), st.integers(1, 40))
def test_a_limit_takes_jets_of_every_class_and_moves_none(seed: int, most: int) -> None:
    random = np.random.default_rng(seed)
    label, event = random.integers(0, 3, 200), random.integers(0, 2**64, 200, dtype=np.uint64)
    splits = make_splits(event, {"train": 0.5, "val": 0.2, "test": 0.3})
    limited = limit_splits(splits, label, event, max_jets=most)
    for name in SPLITS:
        assert set(limited[name]) <= set(splits[name])
        assert (np.diff(limited[name]) > 0).all()
        before, after = (np.bincount(label[jets[name]], minlength=3) for jets in (splits, limited))
        assert after.tolist() == np.minimum(before, most).tolist()
    more = limit_splits(splits, label, event, max_jets=most + 1)
    assert all(set(limited[name]) <= set(more[name]) for name in SPLITS), "a larger trial holds the smaller one"
