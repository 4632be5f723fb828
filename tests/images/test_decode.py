"""Image files: which are refused and why, and that each format becomes the same RGB array every time."""

import hashlib
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attributree.errors import ImageError
from attributree.images import decode as images
from attributree.images.decode import decode_image, inspect_image
from attributree.images.places import Places

SIZE = 32
RED, GREEN, BLUE, WHITE = (220, 30, 30), (20, 160, 40), (30, 40, 200), (255, 255, 255)


def quarters(width: int = 64, height: int = 64) -> Image.Image:
    """Return a picture with red, green, blue and white quarters: upside down or mirrored it is another."""
    picture = Image.new("RGB", (width, height), WHITE)
    picture.paste(RED, (0, 0, width // 2, height // 2))
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    picture.paste(BLUE, (0, height // 2, width // 2, height))
    return picture


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Return the colours in the middle of the four quarters, in reading order."""
    near, far = pixels.shape[0] // 4, 3 * pixels.shape[0] // 4
    return [tuple(int(c) for c in pixels[y, x]) for y, x in ((near, near), (near, far), (far, near), (far, far))]


def assert_close(found: list[tuple[int, ...]], expected: list[tuple[int, ...]], tolerance: int) -> None:
    assert np.abs(np.array(found) - np.array(expected)).max() <= tolerance, (found, expected)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


# --- damaged and foreign files (faults 31 to 35) -----------------------------------------------------------------


def test_a_truncated_jpeg_has_a_header_and_is_refused_on_decoding(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.effect_noise((400, 400), 80).save(path, quality=95)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert inspect_image(path) == "JPEG"
    with pytest.raises(ImageError, match=r"cannot be read: .*truncated"):
        decode_image(path, 400)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff"])
def test_a_file_cut_at_any_place_gives_an_image_error_or_an_image(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    quarters().save(whole)
    data = whole.read_bytes()
    refused = 0
    for end in range(1, len(data), max(1, len(data) // 25)):
        path = tmp_path / f"{end}.{suffix}"
        path.write_bytes(data[:end])
        try:
            pixels, _ = decode_image(path, SIZE)
        except ImageError:
            refused += 1
        else:
            assert pixels.shape == (SIZE, SIZE, 3)
    assert refused > 0


def test_flipped_bytes_give_an_image_error_or_an_image(tmp_path: Path) -> None:
    quarters().save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    path = tmp_path / "flipped.png"
    refused = 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            decode_image(path, SIZE)
        except ImageError:
            refused += 1
    assert refused > len(data) // 2


@pytest.mark.parametrize("look", [inspect_image, lambda path: decode_image(path, SIZE)])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "not an image in one of JPEG, PNG, WEBP, GIF, BMP, TIFF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\nshowpage\n", "not an image in one of"),
        (b"SIMPLE  =                    T".ljust(80) + b"NAXIS   =                    2".ljust(80), "not an image in"),
        (b"\xff\xd8\xff", "not an image in one of"),
        (b"\x89PNG\r\n\x1a\n", "not an image in one of"),
    ],
    ids=["zero bytes", "HTML", "EPS", "FITS", "start of a JPEG", "start of a PNG"],
)
def test_what_is_no_image_is_refused_whatever_it_is_called(
    tmp_path: Path, look: Callable[[Path], object], content: bytes, reason: str
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        look(path)


def test_a_missing_file_and_a_folder_are_refused_with_their_reason(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="file not found"):
        inspect_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match=r"is a folder|cannot be read"):
        inspect_image(tmp_path)


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quarters().save(tmp_path / "photo.bmp")
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("was read"))
    with pytest.raises(ImageError, match="more than the 0 MB allowed"):
        decode_image(tmp_path / "photo.bmp", SIZE)


@pytest.mark.parametrize(("width", "height"), [(9000, 9000), (60_000, 60_000), (2_000_000_000, 1)])
def test_a_picture_with_too_many_pixels_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    for look in (inspect_image, lambda path: decode_image(path, SIZE)):
        with pytest.raises(ImageError, match=r"pixels"):
            look(path)


def test_a_decompression_bomb_costs_less_than_200_megabytes(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    code = f"""
        import resource, zlib, struct, sys
        from pathlib import Path
        from attributree.errors import ImageError
        from attributree.images.decode import decode_image, inspect_image
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for look in (inspect_image, lambda path: decode_image(path, 224)):
            try:
                look(Path({str(bomb)!r}))
            except ImageError:
                continue
            sys.exit("was let in")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    side = 20_000
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (side + 1)) for _ in range(side)) + packer.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    assert bomb.stat().st_size < 1_000_000  # 400 million pixels in less than a megabyte

    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=120
    )

    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 200 * 1024  # kilobytes


# --- formats (fault 36) ------------------------------------------------------------------------------------------


def _cmyk(path: Path) -> None:
    quarters().convert("CMYK").save(path, "JPEG", quality=95)


def _cmyk_tiff(path: Path) -> None:
    quarters().convert("CMYK").save(path, "TIFF")


def _palette(path: Path) -> None:
    quarters().quantize(8).save(path, "PNG")


def _palette_with_transparency(path: Path) -> None:
    picture = quarters().quantize(8)
    white = picture.getpixel((60, 60))
    picture.save(path, "PNG", transparency=white)


def _rgba(path: Path) -> None:
    picture = quarters().convert("RGBA")
    picture.paste((0, 0, 0, 0), (32, 32, 64, 64))  # black where nobody sees it
    picture.save(path, "PNG")


def _animated_gif(path: Path) -> None:
    quarters().save(path, "GIF", save_all=True, append_images=[Image.new("RGB", (64, 64), BLUE)], duration=50)


def _animated_webp(path: Path) -> None:
    quarters().save(path, "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64), BLUE)], lossless=True)


def _jpeg(path: Path) -> None:
    quarters().save(path, "JPEG", quality=95)


def _multi_picture(path: Path) -> None:
    quarters().save(path, "MPO", save_all=True, append_images=[quarters()], quality=95)


FORMATS = [
    _cmyk,
    _cmyk_tiff,
    _palette,
    _palette_with_transparency,
    _rgba,
    _animated_gif,
    _animated_webp,
    _jpeg,
    _multi_picture,
]


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__.strip("_"))
def test_every_format_becomes_the_same_rgb_picture_every_time(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "photo"
    write(path)

    pixels, digest = decode_image(path, SIZE)
    again, _ = decode_image(path, SIZE)

    assert pixels.shape == (SIZE, SIZE, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, again)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert_close(corners(pixels), [RED, GREEN, BLUE, WHITE], tolerance=6)


@pytest.mark.parametrize(
    ("mode", "dtype", "top"), [("L", np.uint8, 255), ("I;16", np.uint16, 65_535), ("F", np.float32, 1.0)]
)
def test_grey_pictures_keep_their_range_whatever_their_depth(
    tmp_path: Path, mode: str, dtype: type, top: float
) -> None:
    ramp = np.repeat(np.linspace(0, top, 64)[None], 64, axis=0).astype(dtype)
    picture = Image.fromarray(ramp)
    assert picture.mode == mode
    path = tmp_path / "ramp.tiff"
    picture.save(path)

    pixels, _ = decode_image(path, 64)

    expected = np.linspace(0, 255, 64)
    for channel in range(3):
        assert np.abs(pixels[32, :, channel] - expected).max() <= 2


def test_sixteen_bit_png_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((16, 16), 32_768, dtype=np.uint16)).save(path)
    pixels, _ = decode_image(path, 16)
    assert np.abs(pixels.astype(int) - 128).max() <= 1


def test_floats_that_are_no_numbers_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "nan.tiff"
    Image.fromarray(np.array([[np.nan, -np.inf], [0.0, 1.0]], dtype=np.float32)).save(path)
    first, _ = decode_image(path, 2)
    second, _ = decode_image(path, 2)
    assert np.array_equal(first, second)
    assert first[:, :, 0].tolist() == [[0, 0], [0, 255]]


def test_one_bit_pictures_are_black_and_white(tmp_path: Path) -> None:
    path = tmp_path / "bit.png"
    picture = Image.new("1", (16, 16), 1)
    picture.paste(0, (0, 0, 8, 16))
    picture.save(path)
    pixels, _ = decode_image(path, 16)
    assert pixels[8, 2].tolist() == [0, 0, 0]
    assert pixels[8, 13].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_half_transparent_is_half_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "veil.png"
    Image.new("RGBA", (16, 16), (0, 0, 0, 128)).convert(mode).save(path)
    pixels, _ = decode_image(path, 16)
    assert np.abs(pixels.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_data_say(tmp_path: Path, kind: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = quarters().transpose(undo[orientation]) if orientation in undo else quarters()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo"
    stored.save(path, kind, exif=exif, **({"quality": 95} if kind in ("JPEG", "WEBP") else {}))

    pixels, _ = decode_image(path, SIZE)

    assert_close(corners(pixels), [RED, GREEN, BLUE, WHITE], tolerance=8)


@pytest.mark.parametrize(("width", "height"), [(200, 100), (100, 200)])
def test_a_picture_is_padded_with_white_and_never_cropped(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (width, height), BLUE).save(path)
    pixels, _ = decode_image(path, SIZE)
    if height > width:
        pixels = pixels.transpose(1, 0, 2)
    assert (pixels[: SIZE // 4 - 1] == WHITE).all()
    assert (pixels[SIZE // 4 + 1 : 3 * SIZE // 4 - 1] == BLUE).all()
    assert (pixels[3 * SIZE // 4 + 1 :] == WHITE).all()


def test_a_large_jpeg_is_drawn_as_well_as_a_small_one(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    quarters(2000, 2000).save(path, quality=95)
    pixels, _ = decode_image(path, SIZE)
    assert_close(corners(pixels), [RED, GREEN, BLUE, WHITE], tolerance=4)


def test_the_smallest_picture_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), GREEN).save(path)
    pixels, _ = decode_image(path, SIZE)
    assert (pixels == GREEN).all()


def test_a_header_tells_the_format_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.jpg"
    quarters(60, 40).save(path, "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("was decoded"))
    assert inspect_image(path) == "PNG"


# --- places (fault 38) -------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"x")
    return tmp_path / "photos"


def locate(root: Path, cell: str) -> Path:
    return Path(Places(root).find(cell).file)


@pytest.mark.parametrize("cell", ["a.jpg", "inner/a.jpg", "./a.jpg", "inner/../a.jpg", "späte Rose.jpg", "a%20b.jpg"])
def test_a_path_below_the_root_is_found(root: Path, cell: str) -> None:
    (root / cell).write_bytes(b"x")
    assert locate(root, cell).is_relative_to(root.resolve())


def test_an_absolute_path_below_the_root_is_found(root: Path) -> None:
    (root / "a.jpg").write_bytes(b"x")
    assert locate(root, str(root / "a.jpg")) == root.resolve() / "a.jpg"


def test_a_link_that_stays_below_the_root_is_followed(root: Path) -> None:
    (root / "inner" / "a.jpg").write_bytes(b"x")
    (root / "link.jpg").symlink_to(root / "inner" / "a.jpg")
    assert locate(root, "link.jpg") == (root / "inner" / "a.jpg").resolve()


@pytest.mark.parametrize("cell", ["../secret.jpg", "inner/../../secret.jpg", "/etc/passwd", "..", "/"])
def test_a_path_outside_the_root_is_blocked(root: Path, cell: str) -> None:
    with pytest.raises(ImageError, match="outside the images root"):
        locate(root, cell)


def test_a_folder_that_only_begins_like_the_root_is_outside(root: Path) -> None:
    with pytest.raises(ImageError, match="outside the images root"):
        locate(root, f"../{root.name}-private/a.jpg")


@pytest.mark.parametrize("target", ["../secret.jpg", "/etc/passwd"])
def test_a_link_out_of_the_root_is_blocked(root: Path, target: str) -> None:
    (root / "link.jpg").symlink_to(target)
    with pytest.raises(ImageError, match="outside the images root"):
        locate(root, "link.jpg")


def test_a_linked_folder_out_of_the_root_is_blocked(root: Path) -> None:
    (root / "up").symlink_to(root.parent, target_is_directory=True)
    with pytest.raises(ImageError, match="outside the images root"):
        locate(root, "up/secret.jpg")


@pytest.mark.parametrize("cell", ["file:///etc/passwd", "FILE://localhost/etc/passwd", "file:///{root}/../secret.jpg"])
def test_a_file_url_out_of_the_root_is_blocked(root: Path, cell: str) -> None:
    with pytest.raises(ImageError, match="outside the images root"):
        locate(root, cell.replace("{root}", str(root)))


def test_a_file_url_below_the_root_is_a_path(root: Path) -> None:
    (root / "a b.jpg").write_bytes(b"x")
    assert locate(root, f"file://{root}/a%20b.jpg") == root.resolve() / "a b.jpg"


@pytest.mark.parametrize("cell", ["a\0.jpg", "x" * 5000, "\ud800.jpg"], ids=["NUL", "too long", "lone surrogate"])
def test_a_path_that_no_file_can_have_is_refused_and_not_a_crash(root: Path, cell: str) -> None:
    with pytest.raises(ImageError):
        inspect_image(locate(root, cell))


def test_a_link_to_itself_is_refused_and_not_a_crash(root: Path) -> None:
    (root / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(ImageError):
        inspect_image(locate(root, "loop.jpg"))
