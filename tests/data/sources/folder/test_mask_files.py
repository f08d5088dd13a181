import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from dal.data.sources.folder.cached_masks import Pair
from dal.data.sources.folder.decoding import decode
from dal.data.sources.folder.mask_files import MaskReader, center, read_masks
from dal.errors import DalError

NUMBERS = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [2, 2, 2, 2]], dtype=np.uint8)


def gray_png(path, numbers, bits):
    """Write a gray PNG with few bits per pixel, which Pillow cannot write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = numbers.shape
    rows = b""
    for row in numbers:
        text = "".join(format(number, f"0{bits}b") for number in row)
        text += "0" * (-len(text) % 8)
        rows += b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def palette(numbers):
    image = Image.frombytes("P", numbers.shape[::-1], numbers.tobytes())
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    return image


@pytest.mark.parametrize(
    "kind", ["gray8", "gray16", "gray4", "gray2", "palette", "palette.gif", "tiff", "alpha", "bmp"]
)
def test_values_are_class_numbers_in_every_format(tmp_path, kind):
    path = tmp_path / "1.png"
    if kind in ("gray4", "gray2"):
        gray_png(path, NUMBERS, int(kind[-1]))
    elif kind == "gray16":
        Image.fromarray(NUMBERS.astype(np.uint16)).save(path)
    elif kind.startswith("palette"):
        path = tmp_path / ("1.gif" if kind.endswith("gif") else "1.png")
        palette(NUMBERS).save(path)
    elif kind in ("tiff", "bmp"):
        path = tmp_path / f"1.{kind}"
        Image.fromarray(NUMBERS).save(path)
    else:
        image = Image.fromarray(NUMBERS)
        if kind == "alpha":
            image = Image.merge("LA", (image, Image.new("L", image.size, 255)))
        image.save(path)
    assert MaskReader(4).read(path).tolist() == NUMBERS.tolist()


def test_masks_of_one_bit(tmp_path):
    Image.fromarray(NUMBERS > 1).save(tmp_path / "1.png")
    assert MaskReader(2).read(tmp_path / "1.png").tolist() == (NUMBERS > 1).astype(int).tolist()


def message(path, reader=None):
    with pytest.raises(DalError) as error:
        (reader or MaskReader(4)).read(path)
    return str(error.value).replace(f"{path}", "FILE")


def test_files_that_are_no_masks_are_refused(tmp_path):
    jpeg, damaged, stack, real = (tmp_path / name for name in ("1.jpg", "1.png", "1.tif", "2.tif"))
    Image.fromarray(NUMBERS).save(jpeg)
    damaged.write_bytes(b"\x89PNG\r\n\x1a\nno")
    Image.fromarray(NUMBERS).save(stack, save_all=True, append_images=[Image.fromarray(NUMBERS)])
    Image.fromarray(NUMBERS.astype(np.float32)).save(real)
    assert message(jpeg) == (
        "FILE: expected a lossless format such as PNG, because class numbers must be exact, got JPEG."
    )
    assert message(damaged).startswith("FILE: expected a mask that can be decoded, got ")
    assert message(stack) == "FILE: expected a mask of one frame or page, got several."
    assert message(real).endswith("got mode F.")
    Image.fromarray(NUMBERS).save(tmp_path / "3.tif", compression="jpeg")
    assert message(tmp_path / "3.tif").endswith("must be exact, got TIFF jpeg.")


def test_masks_are_cut_and_resized_like_images(tmp_path):
    pixels = np.zeros((40, 90), dtype=np.uint8)
    pixels[10:30, 45:], pixels[:, :30] = 1, 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    Image.fromarray(np.stack([(pixels == 1) * np.uint8(255)] * 3, axis=2)).save(tmp_path / "image.png")
    mask = center(MaskReader(2).read(tmp_path / "mask.png"), 16)
    image = decode(tmp_path / "image.png", 16)[0]
    assert set(mask.unique().tolist()) == {0, 1, 255}
    certain = (image < 100) | (image > 155)
    assert torch.equal((mask == 1)[certain], (image > 127)[certain]) and int(certain.sum()) > 200


def test_pixels_outside_of_the_center_square_are_counted(tmp_path):
    Image.new("RGB", (90, 40)).save(tmp_path / "1.png")
    Image.fromarray(np.zeros((40, 90), np.uint8)).save(tmp_path / "mask.png")
    pairs = [Pair(tmp_path / "1.png", tmp_path / "mask.png")]
    with pytest.warns(
        UserWarning,
        match=r"^56 % of the pixels of .*1\.png are outside the center squares, so .*Cut",
    ):
        read_masks(pairs, MaskReader(2), 6)


def exif(orientation):
    found = Image.Exif()
    found[274] = orientation
    return found


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_masks_belong_to_the_upright_image(tmp_path, suffix):
    image, mask = tmp_path / f"1.{suffix}", tmp_path / "mask.png"
    Image.new("RGB", (8, 6)).save(image, exif=exif(6))
    Image.fromarray(np.zeros((8, 6), np.uint8)).save(mask)
    assert read_masks([Pair(image, mask)], MaskReader(2), 6).known == [True]
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(mask)
    with pytest.raises(DalError) as error:
        read_masks([Pair(image, mask)], MaskReader(2), 6)
    assert str(error.value) == (
        f"{mask}: expected 6 x 8 pixels as in {image}, got 8 x 6, the size before the EXIF rotation of the image; save "
        "the image upright without EXIF."
    )


def test_a_rotation_that_the_size_does_not_show_is_told(tmp_path):
    image, mask = tmp_path / "1.jpg", tmp_path / "mask.png"
    Image.new("RGB", (8, 6)).save(image, exif=exif(3))
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(mask)
    with pytest.warns(UserWarning, match=r"^1 images with an EXIF rotation, whose masks are read as masks of the"):
        read_masks([Pair(image, mask)], MaskReader(2), 6)


@pytest.mark.parametrize(("of_image", "of_mask", "warns"), [(1, 3, True), (3, 3, False), (6, 6, False)])
def test_a_rotation_of_the_mask_alone_is_told(tmp_path, recwarn, of_image, of_mask, warns):
    image, mask = tmp_path / "1.jpg", tmp_path / "mask.png"
    Image.new("RGB", (8, 6)).save(image, exif=exif(of_image))
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(mask, exif=exif(of_mask))
    read_masks([Pair(image, mask)], MaskReader(2), 6)
    expected = f"1 masks with an EXIF rotation that their images do not have, which are rotated: {mask}."
    assert [one for one in (str(one.message) for one in recwarn.list) if "EXIF" in one] == [expected] * warns


def test_a_quarter_turn_of_the_mask_alone_is_refused(tmp_path):
    image, mask = tmp_path / "1.jpg", tmp_path / "mask.png"
    Image.new("RGB", (8, 6)).save(image)
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(mask, exif=exif(6))
    with pytest.raises(DalError, match="got 6 x 8 after the EXIF rotation of the mask; save the mask without EXIF"):
        read_masks([Pair(image, mask)], MaskReader(2), 6)


@pytest.mark.parametrize("transparency", [1, b"\xff\x0a"])
def test_a_transparent_entry_of_a_palette_is_a_class_like_others(tmp_path, transparency):
    image = Image.fromarray(NUMBERS % 2).convert("P")
    image.putpalette([0, 0, 0, 9, 9, 9])
    image.putdata((NUMBERS % 2).flatten().tolist())
    image.save(tmp_path / "1.png", transparency=transparency)
    assert torch.equal(MaskReader(2).read(tmp_path / "1.png"), torch.from_numpy(NUMBERS % 2))


def test_masks_in_memory_and_on_disk_are_the_same(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "1.jpg")
    Image.fromarray(NUMBERS).save(tmp_path / "1.png")
    pairs = [Pair(tmp_path / "1.jpg", tmp_path / "1.png"), Pair(tmp_path / "1.jpg", None)]
    kept, again = (read_masks(pairs, MaskReader(4), 3, in_memory) for in_memory in (True, False))
    assert torch.equal(kept.source.batch([1, 0]), again.source.batch([1, 0]))
    assert kept.source.digests([0, 1]) == again.source.digests([0, 1]) and kept.known == [True, False]
    (tmp_path / "1.png").unlink()
    with pytest.raises(DalError, match=r"1\.png: expected a mask that can be decoded, got"):
        again.source.batch([0])
