"""Mining the catalogue's titles and descriptions: what they say becomes observations of the source `text`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from sqlalchemy import Connection

from ..errors import UnknownNameError
from ..labels.observations import WITHDRAWN, ObservationWriter, Texts
from ..labels.queries import revision
from ..labels.records import ProductText
from ..labels.resolve import TEXT_SOURCE
from ..labels.store import LabelStore
from ..labels.texts import product_texts
from ..schema import SEPARATOR, Attribute
from .miner import Miner

#: Products that are read together, and examples that a summary shows.
_CHUNK, _EXAMPLES = 1000, 3


@dataclass(frozen=True, slots=True)
class Example:
    """A product whose text said something new: `raw` is what was, or would be, stored."""

    sku: str
    title: str
    description: str
    raw: str


@dataclass
class Mined:
    """What was found for one attribute: products by value, several for one in `ambiguous` if it can have only one."""

    products: int = 0
    ambiguous: int = 0
    values: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)

    def add(self, keys: Sequence[str], *, candidates: bool) -> None:
        """Count a product; several `keys` are doubtful if they are `candidates` for one value."""
        self.products += 1
        self.ambiguous += candidates and len(keys) > 1
        self.values.update(keys)

    def show(self, product: ProductText, raw: str) -> None:
        """Keep a product as an example, if there is room and its text says something."""
        if raw != WITHDRAWN and len(self.examples) < _EXAMPLES and product.sku not in {e.sku for e in self.examples}:
            self.examples.append(Example(product.sku, product.title, product.description, raw))


@dataclass(frozen=True)
class MineSummary:
    """What mining brought. `withdrawn` counts images whose text does not say any more what it said.

    `observations_new`, `observations_same` and `withdrawn` count images, attribute by attribute.
    """

    products: int
    attributes: Mapping[str, Mined]
    observations_new: int
    observations_same: int
    withdrawn: int
    revision: int
    dry_run: bool


def mine(
    labels: LabelStore,
    known: Mapping[str, Attribute],
    names: Collection[str] | None = None,
    *,
    languages: Collection[str] = (),
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> MineSummary:
    """Store what every product's title and description say of `names`, by default of all `known` attributes.

    A text that says the same as before stores nothing; one that says nothing any more withdraws what it said.
    `progress` is told the number of products done. Raises UnknownNameError.
    """
    wanted = sorted(known if names is None else set(names))
    for name in wanted:
        if name not in known:
            raise UnknownNameError(
                f"no attribute {name!r} is declared; there are: {', '.join(sorted(known)) or 'none'}"
            )
    miner = Miner(known.values(), languages, labels.next_types())

    def work(connection: Connection) -> MineSummary:
        writer, voice = ObservationWriter(connection, "mine", ", ".join(wanted)), (TEXT_SOURCE, None)
        mined = {name: Mined() for name in wanted}
        products = new = same = withdrawn = 0
        for part in product_texts(connection, _CHUNK):
            found = {p.sku: miner.mine(p.article_type, p.title, p.description) for p in part}
            for keys in found.values():
                for name in mined.keys() & keys.keys():
                    mined[name].add(keys[name], candidates=known[name].labels.exclusive)
            images = sorted(((image, product) for product in part for image in product.image_ids), key=itemgetter(0))
            standing = writer.newest_texts(voice, [image for image, _ in images], wanted)
            fresh: Texts = defaultdict(dict)
            for image, product in images:
                for name in wanted:
                    raw = SEPARATOR.join(found[product.sku].get(name, ())) or WITHDRAWN
                    if raw == standing[name].get(image, WITHDRAWN):
                        same += raw != WITHDRAWN
                        continue
                    fresh[name][image] = raw
                    withdrawn += raw == WITHDRAWN
                    new += raw != WITHDRAWN
                    mined[name].show(product, raw)
            if not dry_run:
                writer.append(voice, fresh)
            products += len(part)
            if progress:
                progress(products)
        if writer.new:
            writer.derive_annotations()
        return MineSummary(products, mined, new, same, withdrawn, revision(connection), dry_run)

    return (labels.read if dry_run else labels.write)(work)
