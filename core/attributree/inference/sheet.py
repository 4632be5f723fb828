"""A contact sheet: pictures with what the live tree says of them, to be looked at by a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..errors import CatalogError, ImageError
from ..images.decode import decode_image, quiet
from ..images.remote import Place
from .predict import ACCEPT, ERROR, NOT_APPLICABLE, Prediction

#: Side of a picture on the sheet, pixels.
TILE = 200
_COLUMNS, _MARGIN, _LINE = 6, 14, 17
_INK = {ACCEPT: "#1b7f3b", ERROR: "#b3261e", NOT_APPLICABLE: "#8a8a8a"}
_REVIEW_INK = "#a15c00"


def write_sheet(
    path: Path,
    predictions: Sequence[Prediction],
    files: Mapping[int | str, Place],
    fetch: Callable[[Place], Path],
    most: int = 24,
) -> int:
    """Write a PNG of at most `most` images, spread evenly over `predictions`, and return how many it shows.

    `files` says where each image's file is, by `key_of`, and `fetch` gets those that are shown. Green is accepted,
    amber goes to review, red could not be answered. Raises CatalogError if `path` cannot be written.
    """
    by_file: dict[Place, list[Prediction]] = {}
    for prediction in predictions:
        if prediction.decision != NOT_APPLICABLE:
            by_file.setdefault(files[key_of(prediction)], []).append(prediction)
    everything = list(by_file)
    count = min(most, len(everything))
    chosen = [everything[i * len(everything) // count] for i in range(count)]
    lines = max((len(by_file[file]) for file in chosen), default=1)
    cell_width, cell_height = TILE + _MARGIN, TILE + lines * _LINE + _MARGIN
    columns = max(1, min(_COLUMNS, len(chosen)))
    rows = max(1, -(-len(chosen) // columns))
    header = 40
    sheet = Image.new("RGB", (columns * cell_width + _MARGIN, header + rows * cell_height + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    font, bold = ImageFont.load_default(12), ImageFont.load_default(14)
    x = _MARGIN
    for text, ink in (("accepted", _INK[ACCEPT]), ("to review", _REVIEW_INK), ("no answer", _INK[ERROR])):
        draw.text((x, 12), text, fill=ink, font=bold)
        x += 96
    for i, file in enumerate(chosen):
        left = _MARGIN + (i % columns) * cell_width
        top = header + (i // columns) * cell_height
        sheet.paste(_picture(file, fetch), (left, top))
        for j, prediction in enumerate(by_file[file]):
            ink = _INK.get(prediction.decision, _REVIEW_INK)
            text = _fit(caption(prediction), font, TILE)
            draw.text((left, top + TILE + 3 + j * _LINE), text, fill=ink, font=font)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, format="PNG")
    except OSError as error:
        raise CatalogError(f"{path} cannot be written: {error.strerror or error}") from error
    return len(chosen)


def key_of(prediction: Prediction) -> int | str:
    """Return what tells a predicted image from every other: two folders may both hold a 1.jpg."""
    return prediction.image if prediction.image_id is None else prediction.image_id


def caption(prediction: Prediction) -> str:
    """Return a prediction in a few words: "shape: round 93%"."""
    if prediction.decision == ERROR:
        return f"{prediction.attribute}: no answer"
    said = " + ".join(prediction.values).replace("_", " ") or "none"
    return f"{prediction.attribute.replace('_', ' ')}: {said} {100 * (prediction.confidence or 0):.0f}%"


def _picture(file: Place, fetch: Callable[[Place], Path]) -> Image.Image:
    """Return the picture, or a grey square where there is none to be shown."""
    with suppress(ImageError), quiet():
        return Image.fromarray(decode_image(fetch(file), TILE)[0])
    return Image.new("RGB", (TILE, TILE), "#dddddd")


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return `text`, cut so that it is at most `width` pixels wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
