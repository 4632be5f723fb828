"""What article types bring into a plan: attributes that are asked of other products now, and unmapped words. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..article_types import ASKED, OUTSIDE, UNMAPPED
from ..reports import Action
from .state import CatalogState

#: What is said of article types by whether an attribute is asked of them.
_HOLDS = {ASKED: "asked of", OUTSIDE: "not applicable to", UNMAPPED: "not known whether asked of"}
#: Article types that are named; the others are counted.
_NAMED_TYPES = 5


def retyped(state: CatalogState, others: Collection[str | None]) -> Iterator[Action]:
    """Yield what changed article types evolve: each attribute but the `others` that applies to other products now."""
    for name in sorted((state.declared.keys() & state.catalogued.keys()) - set(others)):
        changed = state.types.changes(state.next_types, state.declared[name], state.products)
        if changed:
            said = "; ".join(f"{_HOLDS[now]} {_of_types(state, words)}" for now, words in sorted(changed.items()))
            reason = f"the article types changed ({said}): what was said is read again"
            yield Action("evolve", name, reason, state.coverage[name].labelled)


def _of_types(state: CatalogState, words: Collection[str]) -> str:
    """Return the commonest of some article types, and the number of products that have any of them."""
    commonest = sorted(words, key=lambda word: (-state.products[word], word))
    more = f" and {len(words) - _NAMED_TYPES} more" if len(words) > _NAMED_TYPES else ""
    products = sum(state.products[word] for word in words)
    return f"{', '.join(commonest[:_NAMED_TYPES])}{more}, {products} product{'' if products == 1 else 's'}"


def unmapped_types(state: CatalogState) -> Iterator[str]:
    """Say which article types are unmapped, if that leaves open whether an attribute is asked of them."""
    open_ = [
        word
        for word in state.products
        if any(state.next_types.asks(attribute, word) == UNMAPPED for attribute in state.declared.values())
    ]
    if open_:
        yield (
            f"{len(open_)} article type{' is' if len(open_) == 1 else 's are'} unmapped ({_of_types(state, open_)}), "
            "so it is not known what to ask there; see `attributree types`"
        )
