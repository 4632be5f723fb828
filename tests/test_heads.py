"""What every head of the library promises, and what each of them is for."""

import inspect
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, heads
from attributree.errors import ConfigError, UnknownNameError
from attributree.heads import (
    HEADS,
    AttentionHead,
    LinearHead,
    MultiLabelHead,
    MultiscaleHead,
    OrdinalHead,
    default_options,
    new_head,
    spatial_pyramid,
)
from attributree.label_set import LabelSet
from attributree.nn.losses import probabilities
from attributree.nn.trunk import MAPS
from attributree.settings.head_names import EXIT_HEAD, HEAD_NAMES, STANDARD_HEAD, unfit
from attributree.settings.models import BranchSettings
from attributree.training.data import Samples
from attributree.training.donors import Donor
from attributree.training.grow import grow

VALUES = ("none", "short", "elbow", "long")
ATTRIBUTES = {
    "single": Attribute("sleeves", SingleLabel(VALUES)),
    "multi": Attribute("sleeves", MultiLabel(VALUES)),
    "ordinal": Attribute("sleeves", Ordinal(VALUES)),
}
#: Every head for every kind of attribute that it answers.
PAIRS = [(name, kind) for name in HEAD_NAMES for kind in ATTRIBUTES if unfit(name, ATTRIBUTES[kind]) is None]
FEATURES = 16


def make(name: str, kind: str = "ordinal", **options: object) -> nn.Module:
    """Return a head of that name for the toy attribute of that kind, always the same."""
    torch.manual_seed(0)
    return new_head(name, ATTRIBUTES[kind], FEATURES, **options)


def parameters(head: nn.Module) -> int:
    return sum(parameter.numel() for parameter in head.parameters())


# -- the contract ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), PAIRS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (7, 7), (2, 3), (1, 5), (14, 14)])
def test_a_head_turns_a_map_of_any_size_into_logits(name: str, kind: str, height: int, width: int) -> None:
    logits = make(name, kind)(torch.rand(3, FEATURES, height, width))
    assert logits.shape == (3, ATTRIBUTES[kind].labels.outputs)
    assert logits.dtype == torch.float32
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("name", HEAD_NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_head_works_in_other_precisions(name: str, dtype: torch.dtype) -> None:
    head, features = make(name).eval(), torch.rand(3, FEATURES, 4, 4)
    exact = head(features)
    logits = head.to(dtype)(features.to(dtype))
    assert logits.dtype == dtype
    assert torch.allclose(logits.float(), exact, atol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(head.float()(features).float(), exact, atol=0.05)


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_a_map_of_zeros_and_one_of_large_numbers_give_numbers(name: str) -> None:
    head = make(name)
    for features in (torch.zeros(2, FEATURES, 3, 3), torch.full((2, FEATURES, 3, 3), 1e4)):
        assert bool(head(features).isfinite().all())


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_every_parameter_and_every_place_of_the_map_gets_a_gradient(name: str, kind: str) -> None:
    head = make(name, kind).eval()
    features = torch.rand(4, FEATURES, 3, 3, requires_grad=True)
    F.softplus(head(features)).sum().backward()
    for key, parameter in head.named_parameters():
        assert parameter.grad is not None, key
        assert bool((parameter.grad != 0).any()), key
    assert features.grad is not None
    assert bool((features.grad.abs().sum(dim=(0, 1)) > 0).all())


@pytest.mark.parametrize(
    ("name", "options", "formula"),
    [
        ("linear", {}, lambda f, k: f * k + k),
        ("multiscale", {}, lambda f, k: 10 * f * k + k),
        ("multiscale", {"grids": (1, (2, 1))}, lambda f, k: 2 * 3 * f * k + k),
        ("attention", {}, lambda f, k: f + f * k + k),
        ("attention", {"queries": 4}, lambda f, k: 4 * f + 4 * f * k + k),
        ("ordinal", {}, lambda f, k: f + k),
        ("multilabel", {}, lambda f, k: f * k + k),
    ],
)
def test_a_head_costs_what_its_docstring_says(name: str, options: dict, formula: object) -> None:  # type: ignore[type-arg]
    assert parameters(make(name, **options)) == formula(FEATURES, 3)  # type: ignore[operator]


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_a_head_says_its_shapes_and_its_cost(name: str) -> None:
    text = inspect.getdoc(HEADS[name]) or ""
    assert "(B, F, H, W) to (B, K)" in text.split("\n\n")[0]
    assert "parameters" in text
    assert "an image" in " ".join(text.split())
    assert f"| {name} " in (heads.__doc__ or "")


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_a_head_is_stored_in_safetensors_and_answers_as_before(name: str, tmp_path: Path) -> None:
    head, features = make(name).eval(), torch.rand(3, FEATURES, 4, 4)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    again = new_head(name, ATTRIBUTES["ordinal"], FEATURES, **default_options(name)).eval()
    again.load_state_dict(load_file(tmp_path / "head.safetensors"))
    assert torch.equal(again(features), head(features))


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_the_same_seed_gives_the_same_head_and_the_same_training_step(name: str) -> None:
    def step() -> Tensor:
        head = make(name)
        torch.manual_seed(1)
        optimizer = torch.optim.AdamW(head.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            head(torch.rand(4, FEATURES, 3, 3)).square().sum().backward()
            optimizer.step()
        answer: Tensor = head.eval()(torch.ones(1, FEATURES, 3, 3))
        return answer

    assert torch.equal(step(), step())


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_features_are_dropped_in_training_only(name: str) -> None:
    head, features = make(name, dropout=0.5), torch.rand(2, FEATURES, 3, 3)
    assert not torch.equal(head(features), head(features))
    assert torch.equal(head.eval()(features), head(features))


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_a_head_that_answers_averages_says_so_and_no_other(name: str) -> None:
    head, features = make(name).eval(), torch.rand(3, FEATURES, 4, 4)
    if name in ("attention", "multilabel"):  # they begin at the average, or near it, and leave it
        nn.init.normal_(next(head.parameters()))
    averaged = head(features.mean(dim=(2, 3), keepdim=True))
    assert torch.allclose(averaged, head(features), atol=1e-5) == getattr(head, "pooled", False)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_branch_grows_with_every_head_for_every_kind(name: str, kind: str) -> None:
    """What tells the values apart is one bright place in the map, anywhere."""
    rng = torch.Generator().manual_seed(0)
    attribute, n = ATTRIBUTES[kind], 120
    value = torch.randint(0, 4, (n,), generator=rng)
    target = F.one_hot(value, 4).float()
    features = 0.2 * torch.rand((n, FEATURES, 3, 3), generator=rng)
    features[torch.arange(n), value, torch.randint(0, 3, (n,), generator=rng), 1] += 4.0
    split = torch.arange(n).remainder(5).sub(2).clamp(min=0)
    labels = LabelSet(
        attribute,
        1,
        torch.arange(n).numpy(),
        split.to(torch.int8).numpy(),
        target.numpy(),
        torch.zeros(n, dtype=torch.bool).numpy(),
        torch.ones(n).numpy(),
    )
    samples = Samples((features.half().numpy(),), torch.arange(n)[:, None].numpy(), labels)
    torch.manual_seed(0)
    unit = nn.Sequential(nn.Conv2d(FEATURES, FEATURES, 1), nn.ReLU())
    nn.init.dirac_(unit[0].weight)  # type: ignore[arg-type]
    recipe = BranchSettings(epochs=12, batch_size=16, learning_rate=0.08, device="cpu", depth="stage", patience=12)
    grown = grow(
        {MAPS: samples}, [Donor("backbone", {"layer4_0": unit})], lambda: new_head(name, attribute, FEATURES), recipe
    )
    # Values have directions of their own, which one direction for all steps can tell apart only in part.
    assert grown.scores["test"].macro_f1 > (0.4 if name == "ordinal" else 0.85)


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_the_documentation_lists_a_head_with_the_parameters_it_has(name: str) -> None:
    page = Path(__file__).parents[1] / "docs" / "heads.md"
    (row,) = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |")]
    assert f"`{HEADS[name].__name__}`" in row
    assert row.endswith(f"| {parameters(HEADS[name](512, 12)):,} |")


# -- the names -------------------------------------------------------------------------------------


def test_settings_know_the_names_of_all_heads() -> None:
    assert tuple(HEADS) == (*HEAD_NAMES, EXIT_HEAD)
    assert STANDARD_HEAD in HEAD_NAMES


def test_a_head_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(UnknownNameError, match="no head 'lstm'; there are: linear, multiscale, attention, ord"):
        make("lstm")


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_ordinal_head_is_refused_where_there_is_no_order(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"attributes -> sleeves -> head: the ordinal head .* sleeves is {kind}"):
        make("ordinal", kind)


def test_options_are_those_of_the_class_with_their_defaults() -> None:
    assert default_options("linear") == {"dropout": 0.2}
    assert default_options("multiscale") == {"grids": (1, 2), "dropout": 0.2}
    assert default_options("attention") == {"queries": 1, "dropout": 0.2}
    assert default_options("multilabel") == {"share": 0.2, "sharpness": 1.0, "dropout": 0.2}


@pytest.mark.parametrize(
    ("name", "options"),
    [("multiscale", {"grids": (2,)}), ("attention", {"queries": 3}), ("multilabel", {"share": 0.5})],
)
def test_heads_of_other_options_are_told_apart_by_their_repr(name: str, options: dict[str, object]) -> None:
    assert repr(make(name)) != repr(make(name, **options))


# -- each of them ----------------------------------------------------------------------------------


def test_cells_are_those_of_adaptive_pooling() -> None:
    for size in ((7, 7), (1, 1), (2, 3), (5, 14)):
        features = torch.rand(2, FEATURES, *size)
        found = spatial_pyramid(features, ((2, 3),)).view(2, 6, 2, FEATURES)
        for i, pool in enumerate((F.adaptive_avg_pool2d, F.adaptive_max_pool2d)):
            expected = F.layer_norm(pool(features, (2, 3)).flatten(2).transpose(1, 2), (FEATURES,))  # (B, 6, F)
            assert torch.allclose(found[:, :, i], expected, atol=1e-5)


def test_the_multiscale_head_tells_above_from_below_and_sees_one_bright_place() -> None:
    head, features = make("multiscale").eval(), 0.1 * torch.rand(1, FEATURES, 6, 6)
    features[:, :8, :3] += 1.0
    assert torch.allclose(features.mean(dim=(2, 3)), features.flip(2).mean(dim=(2, 3)))
    assert (head(features) - head(features.flip(2))).abs().max() > 0.01


@pytest.mark.parametrize("grids", [(), (0,), (1, (2, 0))])
def test_a_grid_without_cells_is_refused(grids: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"a grid is a number of cells along a side, or \(rows, columns\)"):
        MultiscaleHead(FEATURES, 3, grids=grids)


@pytest.mark.parametrize("queries", [1, 4])
def test_attention_begins_at_average_pooling(queries: int) -> None:
    head, features = AttentionHead(FEATURES, 3, queries).eval(), torch.rand(2, FEATURES, 5, 4)
    average = features.mean(dim=(2, 3)).repeat(1, queries)
    assert torch.allclose(head(features), head.linear(average), atol=1e-6)


def test_attention_learns_to_look_at_the_place_that_matters_and_its_queries_part() -> None:
    torch.manual_seed(0)
    head = AttentionHead(FEATURES, 2, queries=2, dropout=0.0)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.05)
    rows = torch.arange(64)
    for _ in range(60):
        value, place = rows % 2, torch.randint(0, 25, (64,))
        features = torch.rand(64, FEATURES, 25)
        features[rows, 0, place] += 6.0  # "look here"
        features[rows, 1, place] += 3.0 * value  # "this is the answer"; elsewhere channel 1 means nothing
        optimizer.zero_grad()
        F.cross_entropy(head(features.unflatten(2, (5, 5))), value).backward()
        optimizer.step()
    weights = head.weights(features.unflatten(2, (5, 5))).flatten(2)
    assert torch.allclose(weights.sum(dim=2), torch.ones(64, 2), atol=1e-5)
    assert weights[rows, :, place].amax(dim=1).median() > 4 / 25
    assert not torch.allclose(head.queries[0], head.queries[1], atol=0.01)


def test_no_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one is needed"):
        AttentionHead(FEATURES, 3, queries=0)


def test_the_ordinal_head_has_one_direction_and_any_thresholds_make_probabilities() -> None:
    head = OrdinalHead(FEATURES, 3).eval()
    one, two = head(torch.rand(1, FEATURES, 2, 2)), head(torch.rand(1, FEATURES, 2, 2))
    assert torch.allclose((two - one).std(), torch.tensor(0.0), atol=1e-6)
    with torch.no_grad():
        head.steps.copy_(torch.tensor([-2.0, 5.0, -1.0]))  # in no order at all
    p = probabilities("ordinal", head(torch.rand(8, FEATURES, 2, 2)))  # (B, C)
    assert bool((p > 0).all())
    assert torch.allclose(p.sum(dim=1), torch.ones(8), atol=1e-5)


def test_the_ordinal_head_can_learn_that_the_middle_value_is_rare() -> None:
    """The second step is then taken more readily than the first, so its threshold must be free to lie higher."""
    head = OrdinalHead(FEATURES, 2, dropout=0.0)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.1)
    value = torch.tensor([0] * 10 + [1] + [2] * 9)
    features = torch.ones(20, FEATURES, 1, 1)
    for _ in range(200):
        optimizer.zero_grad()
        F.nll_loss(probabilities("ordinal", head(features)).log(), value).backward()
        optimizer.step()
    assert probabilities("ordinal", head(features))[0].tolist() == pytest.approx([0.5, 0.05, 0.45], abs=0.01)
    assert head.steps[1] > head.steps[0]


def test_the_multilabel_head_without_its_share_is_the_linear_one() -> None:
    head = MultiLabelHead(FEATURES, 3, share=0.0).eval()
    linear = LinearHead(FEATURES, 3).eval()
    linear.linear = head.linear
    features = torch.rand(2, FEATURES, 4, 3)
    assert torch.allclose(head(features), linear(features), atol=1e-6)


def test_the_multilabel_head_hears_a_value_that_shows_in_one_place() -> None:
    head = MultiLabelHead(FEATURES, 1, share=1.0, sharpness=2.0).eval()
    with torch.no_grad():
        head.linear.weight.zero_()[0, 0] = 1.0
        head.linear.bias.zero_()
    spread, peak = torch.zeros(1, FEATURES, 4, 4), torch.zeros(1, FEATURES, 4, 4)
    spread[:, 0], peak[:, 0, 2, 1] = 0.25, 4.0  # the same on average
    assert head(peak).item() > head(spread).item() + 1.0


def test_a_multiscale_head_answers_its_cells_as_it_answers_the_map() -> None:
    head, features = MultiscaleHead(FEATURES, 3, grids=(1, 3)).eval(), torch.rand(4, FEATURES, 5, 4)
    cells = head.reduced(features)
    assert cells.shape == (4, 2 * 10 * FEATURES)
    assert torch.equal(head(cells), head(features))
