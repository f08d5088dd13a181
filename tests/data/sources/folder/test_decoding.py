import base64
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from dal.data.images import TensorSource
from dal.data.sources.folder.decoding import FolderSource, decode, read_images
from dal.errors import DalError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def quarters(size=8):
    """Red and green above, blue and white below."""
    image = Image.new("RGB", (size, size), "white")
    half = size // 2
    image.paste(RED, (0, 0, half, half))
    image.paste(GREEN, (half, 0, size, half))
    image.paste(BLUE, (0, half, half, size))
    return image


def corners(tensor):
    return [tuple(tensor[:, y, x].tolist()) for y in (0, -1) for x in (0, -1)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.png", {}),
        ("x.bmp", {}),
        ("x.tiff", {}),
        ("x.gif", {}),
        ("x.webp", {"lossless": True}),
        ("x.jpg", {"quality": 100, "subsampling": 0}),
    ],
)
def test_formats(tmp_path, name, options):
    quarters().save(tmp_path / name, **options)
    image = decode(tmp_path / name, 8)
    assert (image.shape, image.dtype) == ((3, 8, 8), torch.uint8)
    atol = 4 if name == "x.jpg" else 0
    expected = torch.from_numpy(np.array(quarters())).permute(2, 0, 1)
    torch.testing.assert_close(image, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("make", "color"),
    [
        (lambda: Image.new("L", (4, 4), 77), (77, 77, 77)),
        (lambda: Image.new("1", (4, 4), 1), (255, 255, 255)),
        (lambda: Image.new("RGB", (4, 4), (9, 8, 7)).quantize(2), (9, 8, 7)),
        (lambda: Image.new("RGBA", (4, 4), (255, 0, 0, 255)), RED),
        (lambda: Image.new("RGBA", (4, 4), (255, 0, 0, 0)), (255, 255, 255)),
        (lambda: Image.new("RGBA", (4, 4), (200, 100, 0, 51)), (244, 224, 204)),
        (lambda: Image.new("LA", (4, 4), (0, 51)), (204, 204, 204)),
        (lambda: Image.fromarray(np.full((4, 4), 257 * 130 + 100, dtype=np.uint16)), (130, 130, 130)),
        (lambda: Image.fromarray(np.full((4, 4), 65535, dtype=np.uint16)), (255, 255, 255)),
    ],
    ids=["grey", "bits", "palette", "opaque", "transparent", "fifth", "grey-alpha", "16-bit", "16-bit white"],
)
def test_modes_become_rgb_on_white(tmp_path, make, color):
    make().save(tmp_path / "x.png")
    assert corners(decode(tmp_path / "x.png", 2)) == [color] * 4


def test_a_transparent_palette_entry_shows_white(tmp_path):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (2, 0, 4, 4))
    image.save(tmp_path / "x.gif", transparency=0)
    assert corners(decode(tmp_path / "x.gif", 4)) == [(255, 255, 255), BLUE] * 2


def test_cmyk_of_a_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "x.jpg", quality=100)
    torch.testing.assert_close(decode(tmp_path / "x.jpg", 1).flatten(), torch.tensor(RED).byte(), rtol=0, atol=3)


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_exif_rotation_is_applied(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter for viewing
    quarters(16).save(tmp_path / name, exif=exif, **({"quality": 100} if name == "x.jpg" else {}))
    found = torch.tensor(corners(decode(tmp_path / name, 16)))
    torch.testing.assert_close(found, torch.tensor([BLUE, RED, (255, 255, 255), GREEN]), rtol=0, atol=3)


def test_the_first_of_several_frames(tmp_path):
    Image.new("RGB", (4, 4), RED).save(
        tmp_path / "x.gif", save_all=True, append_images=[Image.new("RGB", (4, 4), BLUE)], duration=10
    )
    assert corners(decode(tmp_path / "x.gif", 2)) == [RED] * 4


@pytest.mark.parametrize("size", [(40, 20), (20, 40)])
def test_the_middle_square_is_taken(tmp_path, size):
    image = Image.new("RGB", size, BLUE)
    middle = (size[0] // 2 - 10, size[1] // 2 - 10)
    image.paste(quarters(20), middle)
    image.save(tmp_path / "x.png")
    torch.testing.assert_close(
        decode(tmp_path / "x.png", 20), torch.from_numpy(np.array(quarters(20))).permute(2, 0, 1), rtol=0, atol=0
    )


@pytest.mark.parametrize("size", [(90, 60), (61, 83), (17, 9)])
def test_equals_resizing_the_shorter_side_and_a_center_crop(tmp_path, size):
    y, x = np.mgrid[: size[1], : size[0]]
    waves = 127 + 120 * np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], axis=2)
    image = Image.fromarray(waves.astype(np.uint8))
    image.save(tmp_path / "x.png")
    expected = functional.center_crop(functional.resize(image, 24, antialias=True), [24, 24])
    found = decode(tmp_path / "x.png", 24).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - np.array(expected, dtype=int))[1:-1, 1:-1].max() <= 8


def test_shrinking_averages_instead_of_skipping(tmp_path):
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "x.png")
    image = decode(tmp_path / "x.png", 8).float()
    assert image.min() > 120
    assert image.max() < 135


def test_large_jpeg_is_read_small_with_the_same_picture(tmp_path):
    quarters(512).save(tmp_path / "x.jpg", quality=95, subsampling=0)
    found = decode(tmp_path / "x.jpg", 8)
    expected = torch.from_numpy(np.array(quarters(8))).permute(2, 0, 1)
    inner = torch.tensor([0, 1, 2, 5, 6, 7])
    torch.testing.assert_close(found[:, inner][:, :, inner], expected[:, inner][:, :, inner], rtol=0, atol=4)


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        Image.new("RGB", (6, 6), (number, 10 * number, 0)).save(tmp_path / f"{number}.png")
    waves = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(waves).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "whole.jpg").unlink()
    (tmp_path / "1b cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "2b empty.png").write_bytes(b"")
    (tmp_path / "3b text.gif").write_text("not an image")
    return tmp_path


FILES = ["0.png", "1.png", "1b cut.jpg", "2.png", "2b empty.png", "3.png", "3b text.gif"]


@pytest.mark.parametrize("in_memory", [True, False, None])
def test_damaged_images_are_set_aside_and_the_rest_stays_in_order(folder, in_memory):
    with pytest.warns(UserWarning, match="are set aside") as caught:
        source, files, set_aside, _ = read_images(folder, FILES, 4, in_memory)
    assert files == ["0.png", "1.png", "2.png", "3.png"]
    assert isinstance(source, FolderSource if in_memory is False else TensorSource)
    assert len(source) == 4
    assert source.batch([3, 1])[:, :, 2, 2].tolist() == [[3, 30, 0], [1, 10, 0]]
    assert list(set_aside) == ["1b cut.jpg", "2b empty.png", "3b text.gif"]
    assert "truncated" in set_aside["1b cut.jpg"]
    assert all(str(folder) not in reason for reason in set_aside.values())
    message = str(caught[0].message)
    assert message.startswith(f"3 of 7 images in {folder} cannot be decoded and are set aside: 1b cut.jpg (")
    assert message.count("\n") == 0


def test_the_warning_names_the_first_few(tmp_path):
    Image.new("RGB", (6, 6)).save(tmp_path / "good.png")
    names = [f"bad{i}.png" for i in range(5)]
    for name in names:
        (tmp_path / name).touch()
    with pytest.warns(UserWarning, match=r"5 of 6 images .* bad2\.png \([^;]*\); \.\.\.\.$") as caught:
        read_images(tmp_path, [*names, "good.png"], 4)
    assert "bad3" not in str(caught[0].message)


def test_no_warning_without_reason(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_images(folder, ["0.png"], 4).set_aside == {}


def test_a_name_that_is_not_utf8_is_set_aside(tmp_path):
    Image.new("RGB", (6, 6)).save(tmp_path / "good.png")
    with pytest.warns(UserWarning, match="not UTF-8"):
        readable = read_images(tmp_path, ["good.png", "b\udcffd.png"], 4)
    assert readable.set_aside == {"b\\udcffd.png": "its name is not UTF-8"}


def test_nothing_readable_is_an_error(folder):
    with pytest.raises(
        DalError, match=r"^root: expected images that can be decoded, got 1 of 1 images in .* that cannot"
    ):
        read_images(folder, ["2b empty.png"], 4)


def test_held_in_memory_below_the_limit(folder, monkeypatch):
    monkeypatch.setattr("dal.data.sources.folder.decoding.MEMORY_LIMIT_BYTES", 2 * 3 * 16)
    assert isinstance(read_images(folder, ["0.png"], 4).source, TensorSource)
    assert isinstance(read_images(folder, ["0.png", "1.png"], 4).source, FolderSource)


def test_an_image_that_is_damaged_later_is_named(folder):
    source = read_images(folder, ["0.png", "1.png"], 4, in_memory=False).source
    (folder / "1.png").write_bytes(b"")
    with pytest.raises(DalError, match=r"1\.png: readable at setup, but not now"):
        source.batch([0, 1])


def test_image_size_is_at_least_a_pixel(folder):
    with pytest.raises(DalError, match=r"^image_size: expected at least 1 pixel, got 0"):
        read_images(folder, ["0.png"], 0)


def test_the_bar_comes_up_on_a_terminal_only(folder, monkeypatch, capsys):
    monkeypatch.setattr("dal.data.sources.folder.progress._SILENT_SECONDS", 0.0)
    read_images(folder, ["0.png"], 4)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert read_images(folder, ["0.png"], 4).files == ["0.png"]
    assert "Checking images" in capsys.readouterr().err


def test_a_pipe_in_place_of_an_image_is_refused_without_waiting(folder):
    source = read_images(folder, ["0.png", "1.png"], 4, in_memory=False).source
    (folder / "1.png").unlink()
    os.mkfifo(folder / "1.png")
    with pytest.raises(DalError, match=r"1\.png: readable at setup, but not now \(it is not a regular file\)"):
        source.batch([1])
    with pytest.warns(UserWarning, match="it is not a regular file"):
        assert read_images(folder, ["0.png", "1.png"], 4).files == ["0.png"]


def huge_png(path, side):
    """A PNG whose header promises side x side pixels, without their data."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


def test_an_image_of_too_many_pixels_is_set_aside_before_it_takes_memory(folder):
    huge_png(folder / "huge.png", 13_000)
    huge_png(folder / "vast.png", 60_000)
    with pytest.warns(UserWarning) as caught:
        readable = read_images(folder, ["0.png", "huge.png", "vast.png"], 4)
    assert readable.set_aside == {
        "huge.png": "13,000 x 13,000 pixels are more than the limit of 89,478,485; make it smaller",
        "vast.png": "it has more than 178,956,970 pixels; make it smaller",
    }
    assert len(caught) == 1


def test_a_jpeg_of_too_many_pixels_is_read_at_a_smaller_scale(folder, monkeypatch):
    monkeypatch.setattr("dal.data.sources.folder.decoding._MAX_PIXELS", 100 * 100)
    quarters(512).save(folder / "large.jpg")
    assert read_images(folder, ["large.jpg"], 8).files == ["large.jpg"]


def test_large_images_are_decoded_one_at_a_time_with_the_same_pixels(folder, monkeypatch):
    names = ["0.png", "1.png", "2.png", "3.png"]
    expected = read_images(folder, names, 4).source.batch(range(4))
    monkeypatch.setattr("dal.data.sources.folder.decoding._LARGE_PIXELS", 1)
    assert torch.equal(read_images(folder, names, 4).source.batch(range(4)), expected)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_digest_follows_the_content_of_a_file_and_not_its_time(folder, in_memory):
    def digests():
        return read_images(folder, ["0.png", "1.png"], 4, in_memory).source.digests([1, 0])

    before = digests()
    os.utime(folder / "1.png", (1, 1))
    assert digests() == before and len(set(before)) == 2
    Image.new("RGB", (6, 6), BLUE).save(folder / "1.png")
    assert [old == new for old, new in zip(before, digests(), strict=True)] == [False, True]


def test_bytes_that_are_no_image_are_not_taken_for_a_format_without_a_signature(tmp_path):
    Image.new("RGB", (4, 4), RED).save(tmp_path / "x.tga")
    assert corners(decode(tmp_path / "x.tga", 2)) == [RED] * 4
    (tmp_path / "x.tga").rename(tmp_path / "x.jpg")
    with pytest.raises(OSError, match="cannot identify"):
        decode(tmp_path / "x.jpg", 2)


def several(path, count=2, size=4, **options):
    frames = [Image.new("RGB", (size, size), color) for color in (RED, BLUE, GREEN)[:count]]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)


SEVERAL = {
    "a.gif": {"duration": 10},
    "b.png": {"duration": 10},
    "c.tiff": {},
    "d.webp": {"duration": 10, "lossless": True},
}


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_with_several_frames_are_counted_and_named(folder, in_memory):
    for name, options in SEVERAL.items():
        several(folder / name, **options)
        several(folder / f"one {name}", count=1)
    names = ["0.png", *SEVERAL, *(f"one {name}" for name in SEVERAL)]
    with pytest.warns(UserWarning) as caught:
        readable = read_images(folder, names, 4, in_memory)
    assert [str(one.message) for one in caught] == [
        f"4 of 9 images in {folder} have several frames or pages, of which only the first is used: "
        "a.gif, b.png, c.tiff, ...."
    ]
    assert readable.files == names and readable.first_frames == list(SEVERAL) and readable.set_aside == {}
    assert torch.equal(readable.source.batch([1]), readable.source.batch([3]))


def test_a_photo_with_a_preview_and_a_damaged_second_frame_are_one_picture(folder):
    several(folder / "photo.mpo")
    (folder / "photo.mpo").rename(folder / "photo.jpg")
    several(folder / "cut.gif", size=64, duration=10)
    whole = (folder / "cut.gif").read_bytes()
    second = whole.rindex(b"\x21\xf9")
    (folder / "cut.gif").write_bytes(whole[: second + 4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        readable = read_images(folder, ["0.png", "photo.jpg", "cut.gif"], 4)
    assert readable.files == ["0.png", "photo.jpg", "cut.gif"] and readable.first_frames == []


# Made by heif-enc: quarters(64), and two such images in one file.
HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAUFtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAAA5waXRtAA"
    "AAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAFlAAEAAAAAAAAAQwAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEAAGh2YzEAAAAAwWlwcnAA"
    "AACjaXBjbwAAAHdodmNDAQQIAAAAAAAAAAAAHvAA/P/4+AAADwMgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAIQABACpCAQEECAAAAwCeOA"
    "AAAwAAHpAEECCy3UklNc3AgIGBAAADAAEAAAMAAQgiAAEACEQBwXKGDAIkAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAQcGl4aQAAAAADCAgIAAAA"
    "FmlwbWEAAAAAAAAAAQABA4ECgwAAAEttZGF0AAAAPygBrwY4Wvz9N/md7///yvXeh/vYOGwlf5cuX//Te7//+AS8sZj+OQoRv6ZYb//x9istQf"
    "zSJyJ+kvJdfrgVUA=="
)
TWO_HEIC = (
    "AAAAKGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZm1pZjFoZWljbWlhZgAAAgltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAA"
    "AAAAAAAA5waXRtAAAAAAABAAAANGlsb2MAAAAAREAAAgABAAAAAAI5AAEAAAAAAAAAQwACAAAAAAJ8AAEAAAAAAAAAQwAAADhpaW5mAAAAAAAC"
    "AAAAFWluZmUCAAAAAAEAAGh2YzEAAAAAFWluZmUCAAAAAAIAAGh2YzEAAAABYmlwcnAAAAE+aXBjbwAAAHdodmNDAQQIAAAAAAAAAAAAHvAA/P"
    "/4+AAADwMgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAIQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3UklNc3AgIGBAAADAAEAAAMAAQgi"
    "AAEACEQBwXKGDAIkAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAQcGl4aQAAAAADCAgIAAAAd2h2Y0MBBAgAAAAAAAAAAAAe8AD8//j4AAAPAyAAAQ"
    "AXQAEMAf//BAgAAAMAnjgAAAMAAB66AkAhAAEAKkIBAQQIAAADAJ44AAADAAAekAQQILLdSSU1zcCAgYEAAAMAAQAAAwABCCIAAQAIRAHBcoYM"
    "AiQAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMICAgAAAAcaXBtYQAAAAAAAAACAAEDgQKDAAIDhAWGAAAAjm1kYXQAAAA/KAGvBj"
    "ha/P03+Z3v///K9d6H+9g4bCV/ly5f/9N7v//4BLyxmP45ChG/plhv//H2Ky1B/NInIn6S8l1+uBVQAAAAPygBrwY4Wvz9N/md7///yvXeh/vY"
    "OGwlf5cuX//Te7//+AS8sZj+OQoRv6ZYb//x9istQfzSJyJ+kvJdfrgVUA=="
)


# Made by pillow-heif: quarters(64) turned to the left, with the EXIF orientation 6 and the rotation of HEIF.
TURNED_HEIC = (
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAaBtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAAAA"
    "AERAAAIAAQAAAAABxAABAAAAAAAAAEIAAgAAAAACBgABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZl"
    "AgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAA32lwcnAAAAC/aXBjbwAAAHdodmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH/"
    "/wQIAAADAJ44AAADAAAeugJAYQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3UklNc3AQ0GBAAADABkAAAMAAQhiAAEACEQBwXKGDAIkAAAAE2Nv"
    "bHJuY2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABhpcG1hAAAAAAAAAAEAAQWBAgMEhQAA"
    "ABppcmVmAAAAAAAAAA5jZHNjAAIAAQABAAAAbm1kYXQAAAA+KAGvBrhjsNB/oMj///38of//7HDo1ht/FHUb7/Ajhzf9Zigo+v87CEQ/JGJF/6bB"
    "+dsP+qH6//0rv//rkswAAAAGRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA="
)


def test_a_real_heic_file_has_the_pixels_it_was_made_from(tmp_path):
    pytest.importorskip("pi_heif")
    (tmp_path / "x.HEIC").write_bytes(base64.b64decode(HEIC))
    (tmp_path / "y.heic").write_bytes(base64.b64decode(TWO_HEIC))
    (tmp_path / "z.heic").write_bytes(base64.b64decode(TURNED_HEIC))
    with pytest.warns(UserWarning, match=r"^1 of 3 images in .* has several frames .*: y\.heic\.$"):
        readable = read_images(tmp_path, ["x.HEIC", "y.heic", "z.heic"], 8)
    for image in readable.source.batch([0, 1, 2]):
        expected = torch.tensor([RED, GREEN, BLUE, (255, 255, 255)])
        torch.testing.assert_close(torch.tensor(corners(image)), expected, rtol=0, atol=3)


def test_a_truncated_heic_file_is_set_aside(tmp_path):
    pytest.importorskip("pi_heif")
    whole = base64.b64decode(HEIC)
    for name, size in (("head.heic", 60), ("half.heic", len(whole) // 2), ("tail.heic", len(whole) - 20)):
        (tmp_path / name).write_bytes(whole[:size])
    (tmp_path / "whole.heic").write_bytes(whole)
    with pytest.warns(UserWarning, match="3 of 4 images"):
        readable = read_images(tmp_path, sorted(path.name for path in tmp_path.iterdir()), 8)
    assert readable.files == ["whole.heic"] and list(readable.set_aside) == ["half.heic", "head.heic", "tail.heic"]
