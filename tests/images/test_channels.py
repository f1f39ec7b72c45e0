"""Channels: what exists, and what is said of what does not."""

import pytest

from hepcnn.errors import ConfigError, SchemaError
from hepcnn.images.channels import check_channels, check_fields, find_channel


def test_wrong_names_bring_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no channel 'pT'; did you mean 'pt'"):
        check_channels(["pT"])
    with pytest.raises(ConfigError, match=r"no channel 'sum:'; did you mean 'sum:<field>'"):
        check_channels(["sum:"])
    with pytest.raises(ConfigError, match="no channel 'mean:d0'"):
        check_channels(["mean:d0"])
    with pytest.raises(ConfigError, match="stands twice"):
        check_channels(["pt", "pt"])
    with pytest.raises(ConfigError, match="at least one"):
        check_channels([])
    assert check_channels(["pt_mean:d0", "pt"]) == ("pt_mean:d0", "pt")


def test_missing_fields_bring_what_is_possible() -> None:
    fields = ["pt", "eta", "phi"]
    with pytest.raises(SchemaError, match=r"file: channel 'ecal' needs 'ecal'.*possible channels: pt, multiplicity"):
        check_fields(["pt", "ecal"], fields, where="file")
    with pytest.raises(SchemaError, match=r"'pt_mean:d0' needs 'd0'.*sum and pt_mean of pt, eta, phi"):
        check_fields(["pt_mean:d0"], fields, where="file")
    check_fields(["pt_mean:d0", "track_pt"], [*fields, "d0", "charge"], where="file")


def test_channels_of_a_field_say_what_they_are() -> None:
    channel = find_channel("pt_mean:d0")
    assert (channel.title, channel.needs, channel.scales_with_pt) == ("pT-weighted mean of d0", ("d0",), False)
    assert find_channel("ecal").needs == ("ecal", "eta")
    assert find_channel("track_multiplicity").needs == ("charge",)
