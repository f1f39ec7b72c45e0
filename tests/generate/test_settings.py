"""Settings and cards: presets, overrides, and messages that name the place."""

import pytest
import yaml

from hepcnn.errors import ConfigError
from hepcnn.generate.card import CARD_FOLDER, read_card
from hepcnn.generate.commands import check_commands
from hepcnn.generate.pythia import PROCESSES, get_process, make_hard_generator, pt_hat_window
from hepcnn.generate.settings import PRESETS, load_settings


def test_reference_preset_is_that_of_the_landscape_paper():
    settings = load_settings("toptag-reference")
    assert (settings.ecm_gev, settings.pt_min, settings.pt_max, settings.abs_eta_max) == (14000, 550, 650, 2)
    assert (settings.jet_radius, settings.match_radius, settings.require_containment) == (0.8, 0.8, True)
    assert not settings.mpi
    assert settings.pileup_mean == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_loads(preset):
    assert load_settings(preset)


def test_overrides_replace_values():
    assert load_settings("lhc-mpi", {"pt_min": 300.0, "pt_max": 400.0}).pt_min == 300
    assert load_settings("lhc-mpi", {"pt_min": 300.0}).mpi


@pytest.mark.parametrize(
    ("preset", "overrides", "said"),
    [
        ("toptag-referense", {}, "did you mean 'toptag-reference'"),
        ("lhc-mpi", {"pt_mni": 1.0}, "did you mean 'pt_min'"),
        ("lhc-mpi", {"pt_min": 700.0}, r"pt_min \(700\) must be below pt_max \(650\)"),
        ("lhc-mpi", {"pt_max": 7000.0}, "beyond the reach"),
        ("lhc-mpi", {"detector": "atlas-lik"}, "did you mean 'atlas-like'"),
        ("lhc-mpi", {"detector": "no/such/card.yaml"}, "cannot read"),
        ("lhc-mpi", {"pt_hat_min": 800.0, "pt_hat_max": 700.0}, "pt_hat_min"),
    ],
)
def test_mistakes_are_named(preset, overrides, said):
    with pytest.raises(ConfigError, match=said):
        load_settings(preset, overrides)


def test_unknown_process_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'higgs'"):
        get_process("higs")


def test_pt_hat_window_surrounds_the_jet_window_unless_set():
    for process in PROCESSES.values():
        low, high = pt_hat_window(process, load_settings())
        assert low < 550 < 650 < high
        assert pt_hat_window(process, load_settings(overrides={"pt_hat_min": 500.0})) == (500.0, high)


def test_card_with_a_wrong_table_is_refused(tmp_path):
    content = yaml.safe_load((CARD_FOLDER / "atlas-like.yaml").read_text())
    content["ecal"]["resolution"]["noise"] = [0.0]
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=r"ecal\.resolution: stochastic, noise and constant"):
        read_card(str(path))
    content["ecal"]["resolution"]["noise"] = [0.0, 0.0]
    content["ecal"]["regions"] = list(reversed(content["ecal"]["regions"]))
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="regions must hold rising numbers"):
        read_card(str(path))


@pytest.mark.parametrize("preset", PRESETS)
def test_pythia_takes_every_preset(preset):
    check_commands(load_settings(preset).pythia)


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ({"TimeShowr:renormMultFac": 0.25}, "did you mean 'TimeShower:renormMultFac'"),
        ({"Tune:pp": 999}, "Pythia does not take the value 999"),
        ({"TimeShower:alphaSvalue": "much"}, "Pythia does not take the value 'much'"),
        ({"random:SEED": 4}, "the seed decides this"),
        ({"PhaseSpace:pTHatMin": 100.0}, "pt_hat_min decides this"),
    ],
)
def test_settings_of_pythia_that_it_cannot_have_are_named(commands, said, capfd):
    with pytest.raises(ConfigError, match=said):
        check_commands(commands)
    assert capfd.readouterr().out == "", "standard output is for results"


def test_another_shower_makes_another_number_of_particles():
    counts = {}
    for preset in ("toptag-fsr-up", "toptag-fsr-down"):
        generator = make_hard_generator(get_process("top"), load_settings(preset), seed=3)
        records = list(generator.generate(60))
        counts[preset] = sum((record.status > 0).sum() for record in records) / sum(len(record) for record in records)
    # Measured: 373 and 285 an event, with a spread of 8 for 60 events.
    assert counts["toptag-fsr-up"] > counts["toptag-fsr-down"] + 40
