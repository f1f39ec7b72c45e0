"""What is shown of a training where there is no terminal."""

import io

import pytest
from rich.console import Console

from hepcnn import console

RECORD = {"epoch": 2.0, "train_loss": 0.3, "val_loss": 0.4, "val_auc": 0.95, "jets_per_second": 1234.0}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=text, soft_wrap=True, highlight=False, markup=False))
    return text


@pytest.mark.parametrize(("is_limit", "sign"), [(0.0, "="), (1.0, "≥")])
def test_an_epoch_is_a_line(written: io.StringIO, is_limit: float, sign: str) -> None:
    with console.TrainingDisplay("cnn seed 1", n_epochs=4) as display:
        display.on_epoch(RECORD | {"val_rejection": 27.4, "val_rejection_is_limit": is_limit})
    text = f"cnn seed 1: epoch 2/4 train loss 0.3000 val loss 0.4000 AUC 0.9500 1/eps_b {sign} 27 1234 jets/s\n"
    assert written.getvalue() == text


def test_a_line_now_and_then_says_the_time_left(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.TrainingDisplay("cnn", n_epochs=2) as display:
        for step, moment in ((1, 101.0), (11, 121.0)):
            now[0] = moment
            display.on_step(epoch=0, step=step, n_steps=1806, loss=0.5, jets_per_second=99.7)
    # 10 of 3612 steps in 20 seconds.
    assert written.getvalue() == "cnn: 11 of 3612 epoch 1/2 loss 0.5000 100 jets/s, 2:00:02 left\n"


def test_all_but_one_process_are_quiet(written: io.StringIO) -> None:
    with console.TrainingDisplay("cnn", n_epochs=2, is_quiet=True) as display:
        display.on_epoch(RECORD)
        display.say("hello")
    assert written.getvalue() == ""
