"""Pretraining without labels, on drawn shapes of 32 pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from attributree.errors import TrainingError
from attributree.nn.sources import RANDOM
from attributree.nn.trunk import Backbone, TrunkSpec, build_backbone
from attributree.nn.weights import write_weights
from attributree.settings.models import TrainingSettings
from attributree.training.checkpoint import Checkpoints
from attributree.training.pretrain import COLLAPSED, Pretrained, augmentation, pretrain, vicreg

SPEC = TrunkSpec("test_resnet", "layer4", 32, RANDOM)
IMAGES = 60


def drawn() -> npt.NDArray[np.uint8]:
    """Return pictures (60, 32, 32, 3) of bars and boxes in some colour on white."""
    rng = np.random.default_rng(0)
    pixels = np.full((IMAGES, 32, 32, 3), 255, dtype=np.uint8)
    for picture in pixels:
        top, left = rng.integers(2, 12, size=2)
        height, width = rng.integers(4, 20, size=2)
        picture[top : top + height, left : left + width] = rng.integers(0, 200, size=3)
    return pixels


def new_backbone(seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    return build_backbone(SPEC)


def learn(backbone: Backbone, pixels: npt.NDArray[np.uint8] | None = None, **options: Any) -> Pretrained:
    """Pretrain on the first 44 pictures, the others held out; `options` that are settings change the recipe."""
    changes = {key: options.pop(key) for key in list(options) if key in TrainingSettings.model_fields}
    recipe = TrainingSettings(**{"epochs": 4, "batch_size": 16, "learning_rate": 2e-3, "device": "cpu", **changes})
    rows = np.arange(IMAGES)
    return pretrain(backbone, drawn() if pixels is None else pixels, rows[:44], rows[44:], recipe, **options)


def features(backbone: Backbone, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    with torch.no_grad():
        top = backbone.trunk(torch.from_numpy(pixels)).float()
        for unit in backbone.upper.values():
            top = unit(top)
    return top


# -- the loss --------------------------------------------------------------------------------------


def test_the_loss_is_least_for_equal_views_that_vary_and_are_uncorrelated() -> None:
    generator = torch.Generator().manual_seed(0)
    good = 1.5 * torch.randn(4000, 8, generator=generator)
    assert float(vicreg(good, good)) < 0.1
    other = 1.5 * torch.randn(4000, 8, generator=generator)
    assert float(vicreg(good, other)) > 50  # the views are strangers
    alike = good[:, :1].expand(-1, 8)
    assert float(vicreg(alike, alike)) > 10  # all dimensions say the same


def test_the_loss_is_high_where_everything_collapsed() -> None:
    point = torch.ones(16, 8)
    assert float(vicreg(point, point)) == pytest.approx(25 * (1 - 0.01), rel=1e-3)


def test_the_loss_is_the_paper_s() -> None:
    """Against the sums of the paper, written out."""
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    wanted = 25 * ((first - second) ** 2).mean()
    for z in (first, second):
        wanted += 25 * 0.5 * torch.clamp(1 - (z.var(dim=0) + 1e-4).sqrt(), min=0).mean()
        matrix = torch.cov(z.T)
        wanted += sum(matrix[i, j] ** 2 for i in range(3) for j in range(3) if i != j) / 3
    assert float(vicreg(first, second)) == pytest.approx(float(wanted), rel=1e-9)


# -- the views -------------------------------------------------------------------------------------


def test_each_image_of_a_batch_is_changed_by_itself() -> None:
    view = augmentation(32)
    torch.manual_seed(0)
    picture = torch.from_numpy(drawn()[0]).permute(2, 0, 1)
    views = torch.stack([view(picture) for _ in range(8)])
    assert views.shape == (8, 3, 32, 32)
    assert views.dtype == torch.uint8
    assert len({one.numpy().tobytes() for one in views}) == 8


def test_nothing_is_mirrored_if_left_and_right_matter() -> None:
    picture = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    picture[:, :, :6] = 0  # dark at its left
    torch.manual_seed(0)
    darker_right = {
        flip: sum(
            one[:, :, 16:].float().mean() < one[:, :, :16].float().mean()
            for one in (augmentation(32, flip=flip)(picture) for _ in range(60))
        )
        for flip in (True, False)
    }
    assert darker_right[True] > 10
    assert darker_right[False] == 0


def test_hues_stay_near() -> None:
    red = torch.zeros((3, 32, 32), dtype=torch.uint8)
    red[0] = 180
    torch.manual_seed(0)
    views = [augmentation(32)(red).float().mean(dim=(1, 2)) for _ in range(60)]
    grey = sum(float(one.max() - one.min()) < 2 for one in views)
    assert 0 < grey < 15
    assert all(one[0] > 2 * max(one[1], one[2]) for one in views if float(one.max() - one.min()) >= 2)


# -- training --------------------------------------------------------------------------------------


def test_the_held_out_loss_falls_and_every_part_learns() -> None:
    backbone = new_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.state().items()}
    short = learn(new_backbone(), epochs=1)
    done = learn(backbone)
    assert done.loss < short.loss
    assert done.epochs == 4
    assert done.spread > COLLAPSED
    assert done.seconds > 0
    for name in ("conv1.0.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight"):
        assert not torch.equal(done.state[name], before[name])


@pytest.mark.acceptance
def test_shapes_are_told_apart_better_than_by_random_weights() -> None:
    """Wide bars and tall ones of equal area; mean of five seeds, since 44 images make a single one a lottery."""
    rng = np.random.default_rng(1)
    pixels = np.full((IMAGES, 32, 32, 3), 255, dtype=np.uint8)
    for i, picture in enumerate(pixels):
        height, width = ((4, 24), (24, 4))[i % 2]
        top, left = rng.integers(0, 32 - height), rng.integers(0, 32 - width)
        picture[top : top + height, left : left + width] = rng.integers(0, 200, size=3)

    def right(backbone: Backbone) -> float:
        """Return the share of pictures whose nearest neighbour is of their kind."""
        flat = features(backbone, pixels).mean(dim=(2, 3))
        flat = torch.nn.functional.normalize(flat - flat.mean(dim=0), dim=1)
        near = (flat @ flat.T).fill_diagonal_(-2).argmax(dim=1)
        return float((near % 2 == torch.arange(IMAGES) % 2).float().mean())

    gains = []
    for seed in range(5):
        backbone = new_backbone(seed)
        before = right(backbone)
        learn(backbone, pixels, epochs=15)
        gains.append(right(backbone) - before)
    assert np.mean(gains) > 0.05


@pytest.mark.parametrize("stop", [1, 3])
def test_a_killed_run_goes_on_to_equal_weights(stop: int, tmp_path: Path) -> None:
    whole = learn(new_backbone())

    def kill(what: str, epoch: int, of: int) -> None:
        assert (what, of) == ("pretraining", 4)
        if epoch == stop:
            raise KeyboardInterrupt

    options = {"checkpoints": Checkpoints(tmp_path, "pretrain", {"seed": 0}), "checkpoint_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        learn(new_backbone(), progress=kill, **options)
    seen: list[int] = []
    resumed = learn(new_backbone(seed=7), progress=lambda what, epoch, of: seen.append(epoch), **options)
    assert seen == list(range(stop, 5))
    assert (resumed.loss, resumed.epochs) == (whole.loss, whole.epochs)
    assert resumed.state.keys() == whole.state.keys()
    assert all(torch.equal(resumed.state[name], whole.state[name]) for name in whole.state)


def test_the_file_is_loaded_as_a_trunk_with_equal_features(tmp_path: Path) -> None:
    backbone = new_backbone()
    done = learn(backbone, epochs=1)
    path = tmp_path / "trunk.safetensors"
    write_weights(path, done.state, {"method": "VICReg"})
    loaded = build_backbone(TrunkSpec(SPEC.backbone, SPEC.branch_at, SPEC.image_size, str(path)))
    assert torch.equal(features(loaded, drawn()[:4]), features(backbone, drawn()[:4]))
    assert not torch.equal(features(new_backbone(), drawn()[:4]), features(backbone, drawn()[:4]))


def test_weights_that_have_learnt_move_less() -> None:
    def moved(*, learnt: bool) -> float:
        backbone = new_backbone()
        before = backbone.upper["layer4_0"].conv1.weight.detach().clone()
        learn(backbone, epochs=1, learnt=learnt)
        return float((backbone.upper["layer4_0"].conv1.weight.detach() - before).abs().mean())

    assert moved(learnt=True) < 0.3 * moved(learnt=False)


def test_bfloat16_learns_too() -> None:
    assert learn(new_backbone(), epochs=2, precision="bfloat16").spread > COLLAPSED


def test_a_collapse_is_said() -> None:
    same = np.repeat(drawn()[:1], IMAGES, axis=0)
    with pytest.raises(TrainingError, match=r"collapsed: the embeddings of 16 held-out images vary by 0\.0\d\d.*alike"):
        learn(new_backbone(), same, epochs=1)


def test_too_few_images_are_refused_with_their_number() -> None:
    rows = np.arange(1)
    with pytest.raises(TrainingError, match="1 images to learn from and 1 to validate on"):
        pretrain(new_backbone(), drawn(), rows, rows + 1, TrainingSettings(device="cpu"))
