"""The face reader: what it is shown, that its labels move with the picture, what identity compares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien import recipe as recipes
from mien.data.reader import ShardSet
from mien.errors import RunError
from mien.systems.editing.face_pairs import make_pairs
from mien.systems.facereader.config import ReaderModel, ReaderObjective
from mien.systems.facereader.load import Reader, load
from mien.systems.facereader.model import FaceReader
from mien.systems.facereader.module import ReaderModule
from mien.systems.facereader.samples import Transform, collate

SMALL = ReaderModel(image_size=48, widths=(8, 8, 16, 16), embed=8, changes=(8, 8, 16, 16))
KEYS = ("model.image_size=48", "model.widths=[8,8,16,16]", "model.changes=[8,8,16,16]")
STILL = ReaderObjective(backdrop=0, jitter=0, shift=0)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    out = tmp_path_factory.mktemp("pairs") / "set"
    return ShardSet(make_pairs(out, people=2, images=32, seed=3, size=48, workers=1, progress=False))


def test_what_it_is_shown_is_what_the_pair_says(pairs: ShardSet) -> None:
    sample = pairs.read(2)
    item = Transform(SMALL, STILL, train=False)(sample, np.random.default_rng(0), 0)
    for place, part in enumerate(("src", "tgt")):
        assert item["units"][place].tolist() == pytest.approx(sample.record[f"au_{part}"])
        assert item["pose"][place].tolist() == pytest.approx(sample.record[f"pose_{part}"])
        for number, jaw in enumerate((f"jaw_{part}", f"jaw_rest_{part}")):
            np.testing.assert_allclose(48 * item["jaw"][place, number], sample.record[jaw], atol=1e-3)
    same = Transform(SMALL, STILL, train=False)(pairs.read(3), np.random.default_rng(0), 0)
    other = Transform(SMALL, STILL, train=False)(pairs.read(20), np.random.default_rng(0), 0)
    assert same["person"] == item["person"] != other["person"]


def test_labels_and_jaw_move_with_the_picture(pairs: ShardSet) -> None:
    moving = STILL.model_copy(update={"shift": 0.2})
    still = Transform(SMALL, STILL, train=True)(pairs.read(0), np.random.default_rng(0), 0)
    steps = set()
    for seed in range(6):
        moved = Transform(SMALL, moving, train=True)(pairs.read(0), np.random.default_rng(seed), 0)
        for side in range(2):
            right, down = torch.round(48 * (moved["jaw"] - still["jaw"])[side, 0, 0]).int().tolist()
            steps.add((right, down))
            inner = slice(10, 38)
            back = torch.roll(moved["parts"][side], (-down, -right), (0, 1))
            assert torch.equal(back[inner, inner], still["parts"][side][inner, inner])
            back = torch.roll(moved["img"][side], (-down, -right), (1, 2))[:, inner, inner].float()
            plain = still["img"][side][:, inner, inner].float()
            assert float((back - plain).abs().max()) < 2e-3
    assert len(steps) > 6


def test_backgrounds_go_and_faces_stay(pairs: ShardSet) -> None:
    """Else who it is could be told by the wall behind, which both pictures of a pair share."""
    bare = STILL.model_copy(update={"backdrop": 1.0})
    still = Transform(SMALL, STILL, train=True)(pairs.read(0), np.random.default_rng(0), 0)
    item = Transform(SMALL, bare, train=True)(pairs.read(0), np.random.default_rng(0), 0)
    behind = item["parts"] == 0
    for side in range(2):
        colours = item["img"][side][:, behind[side]].float()
        assert float((colours - colours[:, :1]).abs().max()) == 0
        face = ~behind[side]
        assert float((item["img"][side][:, face] - still["img"][side][:, face]).abs().max()) < 1e-3
    first, second = (item["img"][side][:, behind[side]][:, 0] for side in range(2))
    assert not torch.equal(first, second)


def test_identity_compares_people_and_company_changes_no_reading(pairs: ShardSet) -> None:
    module = ReaderModule(recipes.load("facereader/tiny", KEYS))
    transform = Transform(SMALL, STILL, train=False)
    rng = np.random.default_rng(0)

    def batch(*places: int) -> dict[str, torch.Tensor]:
        made = collate([transform(pairs.read(place), rng, 0) for place in places])
        return made | {"valid": torch.ones(len(places), dtype=torch.bool)}

    def identity(*places: int) -> float:
        return float(module.loss(batch(*places), 0)[1]["identity"])

    assert identity(0, 3, 5) == 0  # one person: nobody to tell apart
    assert identity(0, 20) > 0
    assert "identity" not in module.validation_logs(batch(0, 20), 0)
    model = FaceReader(SMALL).eval()
    pictures = torch.rand(3, 3, 48, 48) * 2 - 1
    together, alone = model(pictures), model(pictures[1:2])
    for name in together._fields:
        torch.testing.assert_close(getattr(together, name)[1:2], getattr(alone, name), rtol=1e-4, atol=1e-5)


def test_twins_are_moved_and_coloured_alike_and_labelled_by_their_difference(pairs: ShardSet) -> None:
    plain = Transform(SMALL, STILL, train=False)(pairs.read(2), np.random.default_rng(0), 0)
    assert torch.equal(plain["twins"], plain["img"])
    moving = ReaderObjective(backdrop=0, jitter=0, shift=0.2)
    same = next(
        place
        for place in range(16)
        if pairs.read(place).record["au_src"] == pairs.read(place).record["au_tgt"]
    )
    twins = Transform(SMALL, moving, train=True)(pairs.read(same), np.random.default_rng(1), 0)[
        "twins"
    ].float()
    ours = Transform(SMALL, STILL, train=False)(pairs.read(same), np.random.default_rng(1), 0)[
        "twins"
    ].float()
    assert float((twins[0] - twins[1]).abs().mean()) < 0.02  # how soft each is drawn
    assert float((twins - ours).abs().mean()) > 0.02


def test_changes_turn_round_with_the_pictures_and_need_training(pairs: ShardSet) -> None:
    model = FaceReader(SMALL)
    before, after = torch.rand(2, 3, 3, 48, 48) * 2 - 1
    forth, back = model.changes(before, after), model.changes(after, before)
    torch.testing.assert_close(forth, -back)
    assert forth.shape == (3, 12)
    assert float(forth.abs().max()) > 0
    assert not model.changes(before, before).any()
    bare = Reader(
        FaceReader(SMALL.model_copy(update={"changes": None})), SMALL.model_copy(update={"changes": None})
    )
    pictures = torch.zeros(2, 3, 48, 48, dtype=torch.uint8)
    with pytest.raises(RunError, match=r"no changes.*facereader/tiny"):
        bare.changes(pictures, pictures)
    assert Reader(model, SMALL).changes(pictures, pictures.flip(0)).shape == (2, 12)


def test_changes_are_learnt_where_pictures_differ(pairs: ShardSet) -> None:
    """Sixty steps on thirty-two pairs: better than saying that nothing changes."""
    torch.manual_seed(0)
    module = ReaderModule(recipes.load("facereader/tiny", KEYS))
    transform = Transform(SMALL, STILL, train=False)
    rng = np.random.default_rng(0)
    items = [transform(pairs.read(place), rng, 0) for place in range(32)]
    batch = collate(items) | {"valid": torch.ones(32, dtype=torch.bool)}
    optimizer = torch.optim.Adam(module.model.changes.parameters(), 3e-3)
    for _ in range(60):
        loss = module.loss(batch, 0)[1]["changes"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    logs = module.validation_logs(batch, 0)
    assert float(logs["change_levels"]) < 0.6 * float(logs["change_levels_none"])


def test_a_damaged_row_counts_for_nothing(pairs: ShardSet) -> None:
    module = ReaderModule(recipes.load("facereader/tiny", KEYS))
    transform = Transform(SMALL, STILL, train=False)
    rng = np.random.default_rng(0)
    items = [transform(pairs.read(place), rng, 0) for place in (0, 20)]
    whole = collate(items) | {"valid": torch.ones(2, dtype=torch.bool)}
    gap = collate([items[0], None, items[1]]) | {"valid": torch.tensor([True, False, True])}
    assert float(module.loss(gap, 0)[0]) == pytest.approx(float(module.loss(whole, 0)[0]), rel=1e-5)


def test_a_run_of_another_kind_is_refused(tmp_path: object) -> None:
    with pytest.raises(RunError):
        load(str(tmp_path))
