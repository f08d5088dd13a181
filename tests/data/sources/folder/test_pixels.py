"""One decoder: the pixels of every mode, from a file in a folder and from a PIL image of a dataset."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from dal.data import from_dataset
from dal.data.sources.folder.decoding import decode
from dal.data.sources.folder.mask_files import MaskReader
from dal.data.sources.folder.pixels import dataset_pixels, to_rgb
from dal.data.sources.item_images import ItemSource
from dal.errors import DalError

GRAY = np.tile(np.array([0, 100, 200, 255], np.uint8), (4, 1))
COLORS = Image.fromarray(np.dstack([GRAY, GRAY[:, ::-1], GRAY]))
WHITE = 255


def write_png(path, depth, color_type, row, key=None):
    """A PNG of 4 x 4 pixels with the bytes of one row, written by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, depth, color_type, 0, 0, 0))
    transparent = b"" if key is None else chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * 4))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + transparent + pixels + chunk(b"IEND", b""))


def shorts(*values):
    return struct.pack(f">{len(values)}H", *values)


def read_both(path):
    """The red channel of the first row as the folder reads it, after a check that a dataset gives the same image."""
    from_folder, loaded = decode(path, 4), Image.open(path)
    loaded.load()
    for image in (Image.open(path), loaded):
        pixels = torch.from_numpy(dataset_pixels(image))
        pixels = pixels.expand(3, 4, 4) if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        assert torch.equal(from_folder, pixels)
        assert torch.equal(from_folder, ItemSource(lambda _, image=image: image, 1, None).batch([0])[0])
    return from_folder[0, 0].tolist()


@pytest.mark.parametrize(
    ("depth", "row", "key", "expected"),
    [
        (16, shorts(0, 1000, 32896, 65535), None, [0, 4, 128, 255]),
        (16, shorts(0, 1000, 32896, 65535), [1000], [0, WHITE, 128, 255]),
        (8, b"\x00\x10\x20\xff", [0x10], [0, WHITE, 32, 255]),
        (4, b"\x01\x2f", [1], [0, WHITE, 34, 255]),
        (2, b"\x1b", [1], [0, WHITE, 170, 255]),
        (1, b"\x50", [1], [0, WHITE, 0, WHITE]),
        (1, b"\x50", [0], [WHITE, 255, WHITE, 255]),
    ],
)
def test_a_transparent_gray_is_white_at_every_depth_of_a_png(tmp_path, depth, row, key, expected):
    write_png(tmp_path / "x.png", depth, 0, row, key)
    assert read_both(tmp_path / "x.png") == expected
    if depth <= 8:  # older versions of Pillow forget the range of 16 bits in a copy
        copy = dataset_pixels(Image.open(tmp_path / "x.png").copy())
        assert (copy[0] if copy.ndim == 2 else copy[0, :, 0]).tolist() == expected


def test_a_transparent_color_is_white_at_8_and_16_bits(tmp_path):
    write_png(tmp_path / "x.png", 8, 2, bytes([1, 2, 3, 9, 9, 9, 1, 2, 3, 4, 5, 6]), [1, 2, 3])
    assert read_both(tmp_path / "x.png") == [WHITE, 9, WHITE, 4]
    row = shorts(257, 514, 771, 5000, 5000, 5000, 257, 514, 771, 65535, 0, 0)
    write_png(tmp_path / "x.png", 16, 2, row, [257, 514, 771])
    assert read_both(tmp_path / "x.png") == [WHITE, 19, WHITE, 255]


def test_gray_of_16_bits_with_alpha_lies_on_white(tmp_path):
    write_png(tmp_path / "x.png", 16, 4, shorts(0, 65535, 0, 0, 30000, 32768, 65535, 65535))
    assert read_both(tmp_path / "x.png") == [0, WHITE, 186, 255]


def test_integers_of_32_bits_from_0_to_255_are_read_as_they_are(tmp_path):
    Image.fromarray(GRAY.astype(np.int32)).save(tmp_path / "x.tif")
    assert read_both(tmp_path / "x.tif") == [0, 100, 200, 255]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (GRAY.astype(np.int32) * 257, "integers of 32 bits from 0 to 65535 have no known range"),
        (GRAY.astype(np.int32) - 1, "integers of 32 bits from -1 to 254 have no known range"),
        (GRAY.astype(np.float32), "floating-point pixels have no known range"),
    ],
)
def test_a_range_that_is_unknown_is_refused_in_a_folder_and_in_a_dataset(tmp_path, array, reason):
    Image.fromarray(array).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match=reason):
        decode(tmp_path / "x.tif", 4)
    items = [(Image.fromarray(array), 0)] * 2
    with pytest.raises(DalError, match=rf"^dataset\[0\]: expected an image of 8 or 16 bits, .*{reason}.*\.$"):
        from_dataset(items, classes=["a", "b"])


def test_16_bits_of_tiff_and_jpeg_2000_and_wide_pgm_are_scaled_from_their_full_range(tmp_path):
    wide = Image.fromarray(GRAY.astype(np.uint16) * 257)
    for name in ("x.tif", "x.jp2"):
        wide.save(tmp_path / name)
        assert read_both(tmp_path / name) == [0, 100, 200, 255]
    for highest, row in ((65535, (0, 25700, 51400, 65535)), (4095, (0, 1606, 3212, 4095))):
        (tmp_path / "x.pgm").write_bytes(b"P5 4 4 %d\n" % highest + shorts(*row) * 4)
        assert read_both(tmp_path / "x.pgm") == [0, 100, 200, 255]
    (tmp_path / "x.pgm").write_bytes(b"P5 4 4 100\n" + bytes([0, 25, 50, 100]) * 4)
    assert read_both(tmp_path / "x.pgm") == [0, 64, 128, 255]


def write_tiff(path, bits, photometric, data, sample_format=1):
    """A gray TIFF of 4 x 4 pixels in one strip, written by hand."""
    tags = [(256, 4), (257, 4), (258, bits), (259, 1), (262, photometric), (273, 200), (277, 1), (278, 4)]
    tags += [(279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(head.ljust(200, b"\0") + data)


def test_the_tags_of_a_tiff_tell_its_range_and_direction(tmp_path):
    write_tiff(tmp_path / "x.tif", 12, 1, bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x00]) * 4)
    assert read_both(tmp_path / "x.tif") == [0, 128, 255, 0]
    write_tiff(tmp_path / "x.tif", 16, 0, struct.pack("<4H", 0, 25700, 51400, 65535) * 4)
    assert read_both(tmp_path / "x.tif") == [255, 155, 55, 0]
    write_tiff(tmp_path / "x.tif", 8, 1, bytes([0, 1, 128, 255]) * 4, sample_format=2)
    with pytest.raises(ValueError, match="signed pixels have no known range"):
        decode(tmp_path / "x.tif", 4)


def lab(image):
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(image, *profiles, outputMode="LAB")


@pytest.mark.parametrize(
    ("name", "convert", "atol"),
    [
        ("x.tif", lambda image: image.convert("CMYK"), 0),
        ("x.tif", lambda image: image.convert("YCbCr"), 4),
        ("x.tif", lab, 16),
        ("x.png", lambda image: image.quantize(16), 0),
        ("x.bmp", lambda image: image, 0),
        ("x.ppm", lambda image: image, 0),
        ("x.tga", lambda image: image, 0),
        ("x.jp2", lambda image: image, 0),
        ("x.ico", lambda image: image, 0),
    ],
    ids=["CMYK", "YCbCr", "Lab", "palette", "BMP", "PPM", "TGA", "JPEG 2000", "ICO"],
)
def test_color_modes_and_formats(tmp_path, name, convert, atol):
    convert(COLORS).save(tmp_path / name)
    try:
        Image.open(tmp_path / name).load()
    except OSError:
        pytest.skip("this version of Pillow cannot read the file that it wrote")
    assert np.abs(np.array(read_both(tmp_path / name)) - [0, 100, 200, 255]).max() <= atol


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA", "RGBa"])
def test_every_mode_with_alpha_lies_on_white(mode):
    image = Image.new(mode, (2, 2))
    assert dataset_pixels(image).tolist() == [[[255] * 3] * 2] * 2


def test_a_palette_with_alpha_lies_on_white(tmp_path):
    image = Image.new("RGBA", (4, 4), (200, 100, 0, 51)).quantize(2)
    assert np.array(to_rgb(image))[0, 0].tolist() == [244, 224, 204]
    image.save(tmp_path / "x.png")
    assert read_both(tmp_path / "x.png") == [244] * 4


def test_a_large_image_is_converted_in_bands_with_the_same_pixels(monkeypatch):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 4), dtype=np.uint8))
    whole = np.array(to_rgb(image))
    monkeypatch.setattr("dal.data.sources.folder.pixels._BAND_PIXELS", 100)
    assert np.array_equal(np.array(to_rgb(image)), whole)


def test_gray_of_a_dataset_keeps_one_channel():
    image = Image.fromarray(GRAY)
    assert np.array_equal(dataset_pixels(image), GRAY)
    image.info["transparency"] = 100
    assert dataset_pixels(image)[0].tolist() == [0, WHITE, 200, 255]


def test_exif_rotation_applies_to_an_opened_image_but_not_to_a_processed_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(tmp_path / "x.png", exif=exif)
    assert read_both(tmp_path / "x.png") == [15, 14, 13, 12]
    assert dataset_pixels(Image.open(tmp_path / "x.png").copy())[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("orientation", "row"), [(2, [3, 2, 1, 0]), (6, [12, 8, 4, 0]), (8, [3, 7, 11, 15])])
def test_a_tiff_is_rotated_once(tmp_path, orientation, row):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(tmp_path / "x.tiff", exif=exif)
    assert read_both(tmp_path / "x.tiff") == row
    assert MaskReader(16).read(tmp_path / "x.tiff")[0].tolist() == row


@pytest.mark.parametrize("suffix", ["tga", "ico", "dds"])
def test_alpha_that_is_0_everywhere_is_ignored_where_writers_leave_it_unused(tmp_path, suffix):
    image = Image.new("RGBA", (16, 16), (200, 100, 50, 0))
    image.save(tmp_path / f"unused.{suffix}")
    assert decode(tmp_path / f"unused.{suffix}", 8)[:, 4, 4].tolist() == [200, 100, 50]
    assert dataset_pixels(Image.open(tmp_path / f"unused.{suffix}"))[4, 4].tolist() == [200, 100, 50]
    image.putpixel((15, 15), (0, 0, 0, 255))
    image.save(tmp_path / f"used.{suffix}")
    assert decode(tmp_path / f"used.{suffix}", 16)[:, 4, 4].tolist() == [255, 255, 255]


def test_a_bitmap_with_an_empty_alpha_channel_keeps_its_colors(tmp_path):
    size, masks = 16 * 16 * 4, struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 16, 16, 1, 32, 3, size, 2835, 2835, 0, 0) + masks + bytes(52)
    start = struct.pack("<2sIHHI", b"BM", 122 + size, 0, 0, 122)
    (tmp_path / "unused.bmp").write_bytes(start + header + bytes([50, 100, 200, 0]) * 256)
    assert decode(tmp_path / "unused.bmp", 8)[:, 4, 4].tolist() == [200, 100, 50]
