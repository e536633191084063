"""Loss spikes: seen, noted, skipped, taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mien import engine
from mien.engine.config import SpikeConfig
from mien.engine.rundir import RunFolder
from mien.engine.spikes import SpikeDetector
from mien.errors import RunError

from .runs import differences, learned, samples, state
from .toy import ToyModule, toy_recipe

WATCH = ("engine.spike.window=8", "model.dropout=0")


def test_only_losses_far_above_their_median_are_spikes(tmp_path: Path) -> None:
    detector = SpikeDetector(SpikeConfig(window=8, threshold=6), tmp_path / "spikes.jsonl")
    calm = [1.0, 1.2, 0.9, 1.1, 1.0, 0.8, 1.1, 1.0]
    assert not any(detector.sees(loss) for loss in [50.0, *calm])  # nothing to compare the first with
    assert not detector.sees(1.3)
    assert detector.sees(3.0)
    assert detector.sees(3.0)  # a spike does not become what is usual
    assert not detector.sees(0.1)  # falling fast is welcome
    again = SpikeDetector(SpikeConfig(window=8, threshold=6), tmp_path / "spikes.jsonl")
    again.load_state_dict(json.loads(json.dumps(detector.state_dict())))
    assert again.sees(3.0)
    assert not again.sees(1.0)


def test_a_loss_that_stands_still_does_not_spike_at_rounding(tmp_path: Path) -> None:
    detector = SpikeDetector(SpikeConfig(window=8), tmp_path / "spikes.jsonl")
    assert not any(detector.sees(2.0) for _ in range(9))
    assert not detector.sees(2.0001)
    assert detector.sees(2.1)


@pytest.fixture
def spiking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of step 13 (12 done before) is a hundred times too large."""
    monkeypatch.setattr(ToyModule, "interfere", lambda loss, step: loss * 100 if step == 12 else loss)


@pytest.mark.usefixtures("spiking")
@pytest.mark.parametrize("action", ["note", "skip", "rollback"])
def test_what_happens_at_a_spike(sets: dict[str, Path], tmp_path: Path, action: str) -> None:
    keys = (*WATCH, f"engine.spike.action={action}", "engine.checkpoint_every=1", "engine.keep_last=99")
    run = RunFolder(engine.run(toy_recipe(sets, tmp_path, *keys)))
    (entry,) = [json.loads(line) for line in (run.path / "spikes.jsonl").read_text().splitlines()]
    assert (entry["step"], entry["action"]) == (12, action)
    assert set(entry["ranks"][0]["uids"]) == {uid for step, *_, uid in samples(run) if step == 13}
    before, after = state(run, "12"), state(run, "13")
    moved = bool(differences(before["state_dict"], after["state_dict"]))
    assert moved == (action == "note")
    assert [row["train/spikes"] for row in learned(run)] == [0] * 12 + [1] * 8
    assert state(run)["consumed"] == 320
    assert len(samples(run)) == 320


@pytest.mark.usefixtures("spiking")
def test_a_rollback_returns_to_the_newest_checkpoint_and_repeats_after_a_restart(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    keys = (*WATCH, "engine.spike.action=rollback", "engine.keep_last=99")
    whole = RunFolder(engine.run(toy_recipe(sets, tmp_path, *keys, "engine.max_steps=13")))
    ten, after = state(whole, "10"), state(whole, "13")
    for part in ("state_dict", "exp_avg", "exp_avg_sq", "ema", "adam_steps", "ema_updates"):
        assert differences(ten[part], after[part]) == [], part
    assert differences(state(whole, "10")["state_dict"], state(whole, "5")["state_dict"])
    again = tmp_path / "again"
    again.mkdir()
    engine.run(toy_recipe(sets, again, *keys, "engine.max_steps=11"))  # ends between checkpoint and spike
    resumed = RunFolder(engine.run(toy_recipe(sets, again, *keys, "engine.max_steps=13"), resume=True))
    assert differences(state(resumed), state(whole)) == []


def test_too_many_rollbacks_end_the_run(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyModule, "interfere", lambda loss, step: loss * 100 if step >= 12 else loss)
    keys = (*WATCH, "engine.spike.action=rollback", "engine.spike.max_rollbacks=2")
    with pytest.raises(RunError, match="spiked again after 2 rollbacks"):
        engine.run(toy_recipe(sets, tmp_path, *keys))
