"""What every attribute plugin keeps, as tests: subclass `AttributeContract` and pytest runs them on your plugin.

from attributree.testing import AttributeContract

class TestTone(AttributeContract):
    plugin = "attributree_tone"
    examples = (("very dark", "dark"), ("sparkly", None))
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..plugins import LoadedPlugins, load_plugins
from ..plugins.hookspecs import PROJECT
from ..schema import Attribute

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..workspace import Workspace

#: Feature maps that heads are tried on: `image_size` and backbone decide which one a head meets.
_MAPS = ((7, 7), (1, 1), (2, 3), (5, 4))
_IN_FEATURES = 8
#: The branch that is grown learns from few cards, on a trunk that knows nothing: in many large steps.
_TRAINING = {"learning_rate": 0.05, "epochs": 60, "patience": 60, "batch_size": 16}
#: What separates two letters or digits of a spelling; a hyphen before a digit may be a sign.
_SEPARATED = re.compile(r"(?<=[^\W_])[ -](?=[^\W_])")
_HEAVY = ("matplotlib", "pandas", "sklearn", "sqlalchemy", "timm", "torch", "torchvision")
#: Loads one plugin in a process of its own and prints the digests of its attributes, and what else it imported.
_LOAD = f"""
import json, sys
from importlib.metadata import EntryPoint
from attributree.plugins import load_plugins
loaded = load_plugins(entry_points=[EntryPoint("plugin", sys.argv[1], {PROJECT!r})])
digests = {{name: attribute.digest for name, attribute in loaded.attributes.items()}}
print(json.dumps({{"digests": digests, "heavy": sorted(set({_HEAVY!r}) & set(sys.modules))}}))
"""


class AttributeContract:
    """The contract between attributree and one attribute of a plugin.

    `plugin` is what the entry point names: a module, or `module:object`. `attribute` is the attribute's name, and may
    be left out if the plugin declares one. `examples` are cells of label files, each with the key of the
    value that is read there, or None where nothing must be.
    """

    plugin: str
    attribute: str = ""
    examples: Sequence[tuple[str, str | None]] = ()

    @pytest.fixture
    def loaded(self) -> LoadedPlugins:
        """The plugin, loaded as if it were the only one that is installed."""
        return load_plugins(entry_points=[EntryPoint("plugin", self.plugin, PROJECT)])

    @pytest.fixture
    def declared(self, loaded: LoadedPlugins) -> Attribute:
        """The attribute that this contract is about."""
        loaded.require_healthy()
        names = [self.attribute] if self.attribute else list(loaded.attributes)
        assert len(names) == 1, f"{self.plugin} declares {', '.join(names) or 'nothing'}; set `attribute` to one"
        assert names[0] in loaded.attributes, f"{self.plugin} declares {', '.join(loaded.attributes)}"
        return loaded.attributes[names[0]]

    # -- the declaration -----------------------------------------------------------------------------

    def test_it_loads_without_complaint(self, loaded: LoadedPlugins) -> None:
        """Names, schema, hooks and the range of the hook API are as attributree needs them."""
        assert [f"{info.label}: {info.error}" for info in loaded.problems] == []

    def test_its_hooks_take_arguments_by_the_names_that_are_given(self, loaded: LoadedPlugins) -> None:
        """Nothing else checks an argument with a default: with a slip in its name it would keep its default."""
        for caller in loaded.manager.get_hookcallers(loaded.manager.get_plugin("plugin")) or ():
            for impl in caller.get_hookimpls():
                assert caller.spec is not None
                assert {*impl.argnames, *impl.kwargnames} <= set(caller.spec.argnames), caller.name

    def test_the_declaration_survives_being_stored(self, declared: Attribute) -> None:
        """The catalogue keeps it as JSON."""
        stored = Attribute.from_json(json.loads(json.dumps(declared.to_json())))
        assert stored == declared
        assert stored.digest == declared.digest

    def test_the_declaration_is_the_same_in_every_process(self, declared: Attribute) -> None:
        """One whose values came from a set would retrain its branch whenever a command runs."""
        digests = [_in_a_new_process(self.plugin, seed)["digests"].get(declared.name) for seed in ("1", "2")]
        assert digests == [declared.digest] * 2

    def test_declaring_imports_nothing_heavy(self, declared: Attribute) -> None:
        """Every command loads every plugin: torch belongs into the hooks that need it."""
        assert _in_a_new_process(self.plugin, "0")["heavy"] == []

    # -- its labels ----------------------------------------------------------------------------------

    def test_every_spelling_is_read_as_its_own_value(self, declared: Attribute) -> None:
        """Neither case nor separators of words matter. A former key is not asked for: it may be split."""
        for value in declared.labels.values:
            for text in set(value.spellings) - set(value.formerly):
                for cell in (text, text.upper(), f" {_SEPARATED.sub('-', text)} ", _SEPARATED.sub("_", text)):
                    assert declared.labels.find(cell) == value, cell

    def test_cells_are_read_as_the_examples_say(self, declared: Attribute) -> None:
        """What people write in label files means what the author thinks."""
        found = [(cell, declared.labels.find(cell)) for cell, _ in self.examples]
        assert tuple((cell, value and value.key) for cell, value in found) == tuple(self.examples)

    # -- its head ------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("height", "width"), _MAPS)
    def test_its_head_answers_maps_of_every_size(
        self, loaded: LoadedPlugins, declared: Attribute, height: int, width: int
    ) -> None:
        """(B, in_features, H, W) float32 to (B, outputs) float32, for one image as well as for several."""
        import torch

        head = _head(loaded, declared).eval()
        for images in (1, 3):
            logits = head(torch.randn(images, _IN_FEATURES, height, width))
            assert (tuple(logits.shape), logits.dtype) == ((images, declared.labels.outputs), torch.float32)

    def test_its_head_learns(self, loaded: LoadedPlugins, declared: Attribute) -> None:
        """The loss is a number, and every parameter that wants a gradient gets a finite one."""
        import torch

        head = _head(loaded, declared).train()
        features = torch.randn(4, _IN_FEATURES, 4, 4, requires_grad=True)
        loss = _loss(declared, head(features))
        loss.backward()  # type: ignore[no-untyped-call]
        assert bool(torch.isfinite(loss))
        assert features.grad is not None
        for name, tensor in [("features", features), *head.named_parameters()]:
            if tensor.requires_grad:
                assert tensor.grad is not None, f"{name} has no part in the answer"
                assert bool(torch.isfinite(tensor.grad).all()), name

    def test_its_head_answers_the_same_once_it_is_stored(self, loaded: LoadedPlugins, declared: Attribute) -> None:
        """A branch is rebuilt from its weights alone: whatever else a head remembers is lost."""
        import torch

        from ..nn.tree import weights_of

        head, other = _head(loaded, declared), _head(loaded, declared)
        features = torch.randn(4, _IN_FEATURES, 4, 4)
        head.train()(features)  # running statistics move as they do in training
        other.load_state_dict(weights_of(head))
        assert torch.equal(other.eval()(features), head.eval()(features))
        assert torch.equal(head(features), head(features))

    # -- all of it -----------------------------------------------------------------------------------

    @pytest.mark.attributree_grows
    def test_a_branch_grows_and_answers(
        self,
        loaded: LoadedPlugins,
        declared: Attribute,
        attributree_workspace: Callable[..., Workspace],
        tmp_path: Path,
    ) -> None:
        """Ingest, sync and predict, on cards that show nothing but their value."""
        from .cards import write_cards

        plugin = loaded.manager.get_plugin("plugin")
        sections = {"training": _TRAINING, "attributes": {declared.name: {"depth": "head"}}}
        workspace = attributree_workspace({"plugin": plugin}, **sections)
        cards = write_cards(declared, tmp_path, max(20, 120 // declared.labels.size))
        workspace.ingest(cards, images=tmp_path / "photos")
        report = workspace.sync(only=[declared.name])
        assert [(result.attribute, result.status) for result in report.results] == [(declared.name, "promoted")]
        (answer,) = workspace.predict([tmp_path / "photos" / "0-0.png"], attributes=[declared.name])
        answered = answer.to_json()
        assert answered["decision"] in ("accept", "review"), answered
        assert set(answered.get("values", [answered.get("value")])) <= set(declared.labels.keys)


def _in_a_new_process(plugin: str, hash_seed: str) -> dict[str, Any]:
    """Return the digests of a plugin's attributes, and the heavy modules that loading it brings."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", _LOAD, plugin]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _head(loaded: LoadedPlugins, attribute: Attribute) -> nn.Module:
    """Return the attribute's head, the plugin's own or the standard one, the same every time."""
    import torch

    from ..nn.heads import HeadFactory

    torch.manual_seed(0)
    return HeadFactory(attribute, _IN_FEATURES, loaded)()


def _loss(attribute: Attribute, logits: Tensor) -> Tensor:
    """Return the training loss of `logits` (B, outputs) if image i has value i."""
    import torch

    from ..nn.losses import masked_loss

    images = logits.shape[0]
    target = torch.zeros(images, attribute.labels.size)
    target[torch.arange(images), torch.arange(images) % attribute.labels.size] = 1.0
    return masked_loss(attribute.labels, logits, target, torch.ones(images))
