"""A whole comparison: which attributes, which seeds, one arm after the other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout

from ..catalog import Catalog
from ..errors import CatalogError, TrainingError, UnknownNameError
from ..inference.features import Pictures
from ..nn.sources import RANDOM
from ..plugins import LoadedPlugins
from ..reports import Progress, progress_of
from ..schema import SPLITS
from ..settings.models import Settings
from ..settings.recipes import Recipes
from ..sync.data import TrainingData
from ..sync.plan import missing
from ..training.data import Samples
from . import ARMS, FINETUNED, MULTILABEL, PROGRESSIVE
from .arms import Arm, Trial
from .measure import predict_ms, resampled
from .report import Comparison, SeedResult


def compare(
    catalog: Catalog,
    settings: Settings,
    plugins: LoadedPlugins,
    *,
    arms: Iterable[str] = (),
    seeds: Iterable[int] = (),
    attributes: Iterable[str] = (),
    progress: Progress | None = None,
) -> Comparison:
    """Train each of `arms` (default: all) for `attributes` (default: all that can be trained) and compare them.

    `seeds` (default: the settings') repeat the whole comparison. Catalogue and registry stay as they are, but for what
    decoding finds out about image files. One comparison at a time in a cache; one that was broken off is taken up by
    the next that asks the same. Raises UnknownNameError, and TrainingError if an attribute that was named, or every
    one, cannot be trained.
    """
    asked, attributes = set(arms), tuple(attributes)
    for name in sorted(asked - set(ARMS)):
        raise UnknownNameError(f"no arm {name!r}; there are: {', '.join(ARMS)}")
    wanted = [arm for arm in ARMS if arm in asked or not asked]
    numbers = list(dict.fromkeys(seeds)) or [settings.training.seed]
    with _folder(settings.catalog.cache) as folder:
        data = TrainingData(catalog, settings, plugins, progress)
        names, left_out = choose(catalog, data.recipes, plugins, attributes)
        samples, pictures, undecoded = _gather(data, names, strict=bool(attributes))
        ids = np.unique(np.concatenate([part.labels.image_ids for part in samples.values()]))
        types = {image.id: image.article_type for image in catalog.labels.images(ids=ids.tolist())}
        results, runs = [], []
        for seed in numbers:
            shutil.rmtree(folder, ignore_errors=True)
            seeded = settings.model_copy(update={"training": settings.training.model_copy(update={"seed": seed})})
            cold = seeded.model_copy(update={"catalog": settings.catalog.model_copy(update={"cache": folder})})
            told = progress_of(f"seed {seed}", progress) if progress and len(numbers) > 1 else progress
            warm, cold_data = (TrainingData(catalog, each, plugins, told) for each in (seeded, cold))
            trial = Trial(warm, cold_data, samples, pictures, types)
            reports, draws = dict[str, dict[str, Any]](), dict[str, npt.NDArray[np.float64]]()
            for name in wanted:
                arm = trial.train(name)
                reports[name] = _report(arm, data) | ({"resumed": True} if trial.resumed else {})
                draws[name] = resampled(arm.answered, seed=0)
            results.append(SeedResult(seed, reports, draws))
            runs.append(trial.run)
        for run in runs:
            run.forget()
    return Comparison(
        _parameters(settings, numbers, samples, data),
        tuple(results),
        left_out | undecoded,
        dict(data.quarantined),
        tuple(_notes(settings, wanted, results)),
    )


def choose(
    catalog: Catalog, recipes: Recipes, plugins: LoadedPlugins, wanted: Iterable[str]
) -> tuple[list[str], dict[str, str]]:
    """Return the attributes to compare, in order, and why each of the others is left out.

    Raises UnknownNameError if one of `wanted` is neither declared nor catalogued, TrainingError if it cannot be trained
    or none can.
    """
    wanted, catalogued = list(dict.fromkeys(wanted)), catalog.labels.attributes()
    everything = sorted({*plugins.attributes, *catalogued})
    for name in wanted:
        if name not in everything:
            there = ", ".join(everything) or "none"
            raise UnknownNameError(f"no attribute {name!r}; there are: {there}. See `attributree plugins list`")
    register = "run: attributree sync-catalog --no-train"
    names, left_out = [], {}
    for name in sorted(wanted) or everything:
        attribute = plugins.attributes.get(name)
        if attribute is None:
            why: str | None = "no plugin declares it; install its plugin"
        elif name not in catalogued:
            why = f"it is not registered yet; {register}"
        elif catalogued[name].digest != attribute.digest:
            why = f"its declaration has changed; {register}"
        else:
            counts, splits = catalog.labels.coverage(attribute), catalog.labels.products_per_split()
            why = missing(attribute, counts, recipes.of(name).min_labels, splits)
        if why is None:
            names.append(name)
        elif wanted:
            raise TrainingError(f"{name} cannot be compared: {why}")
        else:
            left_out[name] = why
    if not names:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items()) or "no plugin declares any"
        raise TrainingError(f"no attribute can be compared ({reasons})")
    return names, left_out


def _gather(
    data: TrainingData, names: Sequence[str], *, strict: bool
) -> tuple[dict[str, Samples], Pictures, dict[str, str]]:
    """Return the pixels and labels of each attribute, and why some cannot be used after all."""
    label_sets = {name: data.catalog.labels.label_set(name) for name in names}
    pictures = data.decode_all(label_sets, data.transform)
    samples, left_out = dict[str, Samples](), dict[str, str]()
    for name, labels in label_sets.items():
        try:
            samples[name] = data.pixels(labels, pictures)
        except TrainingError as error:
            if strict or len(names) == len(left_out) + 1:
                raise
            left_out[name] = str(error)
    return samples, pictures, left_out


def _report(arm: Arm, data: TrainingData) -> dict[str, Any]:
    """Return an arm as the JSON document shows it."""
    scored = [found.report["macro_f1"] for found in arm.answered.values() if found.report["n"]]
    ms = predict_ms(arm.trees, arm.answered, data.device)
    return {
        "attributes": {name: found.report | arm.details.get(name, {}) for name, found in arm.answered.items()},
        "mean_macro_f1": round(float(np.mean(scored)), 4) if scored else None,
        "train_seconds": round(sum(arm.parts.values()), 3),
        "parts": {part: round(seconds, 3) for part, seconds in arm.parts.items()},
        "parameters": sum(weight.numel() for tree in arm.trees for weight in tree.parameters()),
        "predict_ms_per_image": None if ms is None else round(ms, 4),
        **arm.said,
    }


def _parameters(
    settings: Settings, seeds: Sequence[int], samples: Mapping[str, Samples], data: TrainingData
) -> dict[str, Any]:
    """Return what the figures depend on."""
    training = settings.training
    return {
        "seeds": list(seeds),
        **settings.trunk_identity(),
        **{key: getattr(training, key) for key in ("epochs", "patience", "batch_size", "learning_rate", "flip")},
        "device": str(data.device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "attributree": version("attributree"),
        "labels": {
            name: {
                **{split: len(part.part(split, labelled_only=True)) for split in SPLITS},
                "ambiguous": int(part.labels.ambiguous.sum()),
            }
            for name, part in samples.items()
        },
    }


def _notes(settings: Settings, wanted: Sequence[str], results: Sequence[SeedResult]) -> Iterator[str]:
    """Yield what a reader of the figures must know."""
    yield "training seconds are wall clock, without decoding; features of the trunk are computed anew and counted"
    yield "each training ends at its own early stop; an arm of several stages may run more epochs in all"
    tree = [arm for arm in (PROGRESSIVE, FINETUNED) if arm in wanted]
    if settings.trunk.weights == RANDOM and tree:
        shared = f"; it is the {MULTILABEL} network, trained once and counted in each" if MULTILABEL in wanted else ""
        yield f"the trunk began at random weights, so {' and '.join(tree)} first learn it from all attributes{shared}"
    for result in results:
        tuned = result.arms.get(FINETUNED, {"promoted": True, "kept": []})
        if tuned["kept"]:
            kept = ", ".join(tuned["kept"])
            yield f"seed {result.seed}: {kept} did not pass the gate: answers as in {PROGRESSIVE}, on the former trunk"
        if not tuned["promoted"]:
            lost = [name for name, said in tuned["attributes"].items() if not said["gate"]["promoted"]]
            yield (
                f"seed {result.seed}: {', '.join(lost)} did not pass the gate, so the finetuned tree is not taken and "
                f"{FINETUNED} answers as {PROGRESSIVE} does; `ungated` has the finetuned tree's macro-F1"
            )
        if any("resumed" in arm for arm in result.arms.values()):
            yield f"seed {result.seed}: taken up after a break; training seconds are those since then"
    untested = [name for name, said in next(iter(results[0].arms.values()))["attributes"].items() if not said["n"]]
    if untested:
        yield f"no label in the test split: {', '.join(untested)}"


@contextmanager
def _folder(cache: Path) -> Iterator[Path]:
    """Yield a folder for one comparison's own features, which is deleted afterwards."""
    folder = cache / "compare"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(str(cache / "compare.lock"), timeout=0):
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except Timeout as error:
        raise CatalogError(f"another comparison is running in {cache}; wait for it") from error
