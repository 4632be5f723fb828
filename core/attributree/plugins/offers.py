"""The pretrained weights that the installed plugins offer: who offers which name, and what is wrong with some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING

from .calls import Answer, PluginInfo, attempt
from .hookspecs import attributree_weights
from .host import LoadedPlugins
from .pretrained import OWN, PretrainedWeights

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Offer:
    """Weights, and the plugin that offers them."""

    weights: PretrainedWeights
    plugin: PluginInfo

    def tensors(self) -> Mapping[str, Tensor]:
        """Return what the plugin's `read` makes of the file. Raises BrokenError, which says what it did."""
        assert self.weights.read is not None
        return attempt(f"reading {self.weights.file}", partial(self.weights.read, self.weights.file))


def offered_weights(plugins: LoadedPlugins | None) -> tuple[dict[str, Offer], list[str]]:
    """Return the weights that plugins offer, by name, and what is wrong with others: one line each.

    Of two plugins' weights of one name neither is returned.
    """
    answers: list[Answer[Iterable[PretrainedWeights]]] = []
    problems: list[str] = []
    if plugins is not None:
        answers, problems = plugins.each(attributree_weights)
    claims: dict[str, list[Offer]] = {}
    for answer in answers:
        for weights in answer.value:
            claims.setdefault(weights.name, []).append(Offer(weights, answer.plugin))
    for name, claim in claims.items():
        if len(claim) > 1:
            labels = " and ".join(dict.fromkeys(offer.plugin.label for offer in claim))
            problems.append(
                f"{labels}: the weights {name!r} are offered more than once; none of them is used: name the others in "
                "`disabled` in the [plugins] section"
            )
    return {name: claim[0] for name, claim in sorted(claims.items()) if len(claim) == 1}, problems


def no_such_weights(name: str, offers: Mapping[str, Offer], problems: Sequence[str]) -> str:
    """Return why there are no weights of that name, and what there is."""
    near = get_close_matches(name, [*offers, *OWN], n=1)
    hint = f"did you mean {near[0]!r}? There are: " if near else "there are: "
    broken = f" ({'; '.join(problems)})" if problems else ""
    return (
        f"trunk -> weights: no installed plugin offers {name!r}{broken}; {hint}"
        f"{', '.join([*OWN, *offers])}. A file's name ends in .safetensors. See `attributree weights list`"
    )
