"""Trunk and branches trained together: shared units, teachers, sampling, finetuning."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from attributree.heads import LinearHead
from attributree.label_set import LabelSet
from attributree.nn.heads import HeadFactory
from attributree.nn.losses import probabilities
from attributree.nn.tree import Branch, JointModel, KeyedBranch
from attributree.nn.trunk import Trunk
from attributree.schema import Attribute, Labels, MultiLabel, Ordinal, SingleLabel
from attributree.settings.models import BranchSettings
from attributree.training.checkpoint import Checkpoints
from attributree.training.data import Samples
from attributree.training.finetune import finetune
from attributree.training.gate import Verdict
from attributree.training.joint import Teacher, attribute_aware, distillation, logits_at, predict_joint, train_joint
from attributree.training.progressive import BranchSetup

finetune_module = importlib.import_module("attributree.training.finetune")
progressive_module = importlib.import_module("attributree.training.progressive")
SIZE = 16
CPU = torch.device("cpu")
TONE = Attribute("tone", SingleLabel(("dark", "bright")))
HUE = Attribute("hue", SingleLabel(("red", "green", "blue")))


def block(inner: int, outer: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inner, outer, 3, stride=2, padding=1), nn.BatchNorm2d(outer), nn.ReLU())


def crown(*, shared: bool = True, seed: int = 0) -> JointModel:
    """Return a trunk with a branch for tone and one for hue, over the same units or over their own."""
    torch.manual_seed(seed)
    trunk = Trunk({"stem": block(3, 8)}, (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))
    units = {"low": block(8, 8), "top": block(8, 12)}
    own = units if shared else {"low": units["low"], "top": block(8, 12)}
    keys = ("low", "top") if shared else ("low", "own")
    branches = {
        "tone": KeyedBranch(Branch(units, LinearHead(12, 2)), ("low", "top")),
        "hue": KeyedBranch(Branch(own, LinearHead(12, 3)), keys),
    }
    return JointModel(trunk, branches)


def paint(n: int = 160) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    hue, tone = rng.integers(3, size=n), rng.integers(2, size=n)
    pixels = rng.integers(0, 30, (n, SIZE, SIZE, 3))
    pixels[np.arange(n), :, :, hue] += (90 + 120 * tone)[:, None, None]
    return pixels.astype(np.uint8), hue, tone


def of(attribute: Attribute, pixels: np.ndarray, classes: np.ndarray, ids: np.ndarray) -> Samples:
    """Return what `attribute` says of the pictures `ids`; of five, one validates and one tests."""
    labels = LabelSet(
        attribute,
        1,
        ids,
        np.choose(ids % 5, [0, 0, 0, 1, 2]).astype(np.int8),
        np.eye(attribute.labels.size, dtype=np.float32)[classes[ids]],
        np.zeros(len(ids), dtype=np.bool_),
        np.ones(len(ids), dtype=np.float32),
    )
    return Samples((pixels,), ids[:, None], labels)


@pytest.fixture
def samples() -> dict[str, Samples]:
    pixels, hue, tone = paint()
    return {"tone": of(TONE, pixels, tone, np.arange(100)), "hue": of(HUE, pixels, hue, np.arange(60, 160))}


@pytest.fixture
def fast(recipe: BranchSettings) -> BranchSettings:
    return recipe.model_copy(update={"epochs": 8, "learning_rate": 0.02, "checkpoint_seconds": 0})


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_shared_units_are_trained_once_and_stay_equal(samples: dict[str, Samples], fast: BranchSettings) -> None:
    model = crown(shared=False)
    before = weights(model.branch("tone").units["low"])
    trained = train_joint(model, samples, fast, name="both")
    assert min(trained.macro_f1.values()) > 0.9
    tone, hue = (model.keyed_branches()[name].branch.parts() for name in ("tone", "hue"))
    assert equal(tone[0], hue[0])
    assert not equal(tone[1], hue[1])
    assert not equal(before, tone[0])


def test_one_attribute_alone_is_a_model_of_its_own(samples: dict[str, Samples], fast: BranchSettings) -> None:
    model = crown()
    before = weights(model.branch("hue").head)
    assert train_joint(model, {"tone": samples["tone"]}, fast, name="alone").macro_f1["tone"] > 0.9
    assert equal(before, weights(model.branch("hue").head))


def test_a_joint_training_that_was_broken_off_is_taken_up(
    samples: dict[str, Samples], fast: BranchSettings, tmp_path: Path
) -> None:
    class StoppedError(Exception):
        pass

    def stop(name: str, epoch: int, of: int) -> None:
        if epoch == 3:
            raise StoppedError

    unbroken, resumed = crown(), crown()
    train_joint(unbroken, samples, fast, name="both")
    with pytest.raises(StoppedError):
        train_joint(crown(), samples, fast, name="both", checkpoints=Checkpoints(tmp_path, "both", {}), progress=stop)
    train_joint(resumed, samples, fast, name="both", checkpoints=Checkpoints(tmp_path, "both", {}))
    assert equal(weights(unbroken), weights(resumed))


def test_logits_are_those_of_each_attribute_s_own_images(samples: dict[str, Samples]) -> None:
    model = crown().eval()
    logits = predict_joint(model, samples, CPU)
    pixels = samples["hue"].inputs[0]
    alone = logits_at(model, pixels, {"hue": np.array([60, 159])}, CPU)["hue"]
    assert torch.allclose(logits["hue"][[0, -1]], alone, atol=1e-5)
    assert logits["tone"].shape == (100, 2)


@pytest.mark.parametrize("labels", [HUE.labels, Ordinal(("a", "b", "c", "d")), MultiLabel(("a", "b", "c"))])
def test_agreeing_with_the_teacher_costs_nothing(labels: SingleLabel) -> None:
    taught = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert distillation(labels, taught, taught).item() == pytest.approx(0, abs=1e-6)
    assert distillation(labels, taught + torch.tensor([1.0, -1.0, 0.0]), taught).item() > 0.01
    silent = taught.clone()
    silent[1:] = torch.nan
    assert distillation(labels, taught.flip(0), silent).item() == pytest.approx(
        distillation(labels, taught.flip(0)[:1], taught[:1]).item()
    )


def test_a_teacher_keeps_answers_where_labels_are_missing(samples: dict[str, Samples], fast: BranchSettings) -> None:
    model = crown(shared=False)
    train_joint(model, samples, fast, name="both")
    rows = np.arange(160)
    pixels = samples["tone"].inputs[0]
    before = logits_at(model, pixels, {"hue": rows}, CPU)["hue"]
    labelled = samples["hue"]
    few = np.flatnonzero((labelled.labels.split != 0) | (np.arange(100) < 6))
    little = {**samples, "hue": Samples(labelled.inputs, labelled.rows[few], labelled.labels.take(few))}
    moved = []
    for weight in (0.0, 5.0):
        student = crown(shared=False)
        student.load_state_dict(model.state_dict())
        settings = fast.model_copy(update={"distill": weight, "learning_rate": 0.005})
        train_joint(student, little, settings, name="both", teachers={"hue": Teacher(rows, before)})
        after = logits_at(student, pixels, {"hue": rows}, CPU)["hue"]
        moved.append((after.softmax(dim=1) - before.softmax(dim=1)).abs().mean().item())
    assert moved[1] < 0.7 * moved[0]


def test_attributes_with_few_labels_are_drawn_as_often_as_others() -> None:
    many, few = torch.zeros(1000), torch.zeros(1000)
    many[:900], few[950:960] = 1, 1
    p = attribute_aware([many, few])
    assert p.sum() == pytest.approx(1)
    assert p[950:960].sum() == pytest.approx(0.5 * 0.01 + 0.25)
    assert p[0] == pytest.approx(0.5 / 1000 + 0.25 / 900)
    assert p[-1] == pytest.approx(0.5 / 1000)


@pytest.mark.parametrize("second_chance", [True, False])
def test_an_attribute_that_finetuning_spoilt_is_grown_once_more_on_the_new_trunk(
    second_chance: bool, samples: dict[str, Samples], fast: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = crown(shared=False)
    train_joint(model, samples, fast.model_copy(update={"epochs": 2}), name="both")
    val = {name: part.part("val") for name, part in samples.items()}
    live = {name: probabilities("single", logits).numpy() for name, logits in predict_joint(model, val, CPU).items()}
    pixels, rows = samples["tone"].inputs[0], np.arange(100)
    teachers = {name: Teacher(rows, logits_at(model, pixels, {name: rows}, CPU)[name]) for name in samples}
    heads = {part.labels.attribute: HeadFactory(part.labels.attribute, 12) for part in samples.values()}
    setups = {attribute.name: BranchSetup(attribute, fast, head, head) for attribute, head in heads.items()}
    asked: list[str] = []

    def gate(labels: Labels, *_: object) -> Verdict:
        name = "hue" if labels is HUE.labels else "tone"
        asked.append(name)
        return Verdict(name == "tone" or (second_chance and asked.count("hue") == 2), "as told")

    for module in (finetune_module, progressive_module):
        monkeypatch.setattr(module, "gate_replaced", gate)
    tuned = finetune(model, samples, live, teachers, setups, fast)
    assert asked == ["tone", "hue", "hue"] or asked == ["hue", "hue", "tone"]
    assert tuned.lost == ([] if second_chance else ["hue"])
    assert (tuned.branches["hue"].regrown is not None) is second_chance
    assert tuned.branches["tone"].regrown is None
    assert tuned.branches["tone"].scores["test"].accuracy > 0.8
    with torch.no_grad():  # what was grown stands on the trunk that is handed back
        tuned.branches["hue"].branch.eval()(tuned.trunk(torch.from_numpy(pixels[:2])))
    assert not tuned.trunk.training
