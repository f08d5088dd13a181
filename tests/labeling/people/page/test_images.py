"""Images as a browser gets them."""

import io
import os

import numpy as np
import pytest
import torch
from helpers.label_page import Client, make_images, site_of
from helpers.toys import toy_data
from PIL import Image, ImageOps

from dal.labeling.people.page.images import MOST_SIDE, DataPictures, FolderPictures, PictureError
from dal.labeling.people.page.server import PageServer


def pictures(root, **images):
    """FolderPictures of files that are written by name, as in png=b"...", with the suffix as the name."""
    files = []
    for suffix, content in images.items():
        name = f"a.{suffix}"
        (root / name).write_bytes(content)
        files.append(name)
    return FolderPictures(root, files)


def encoded(image, kind, **options):
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def opened(picture):
    return Image.open(io.BytesIO(picture.body))


RED = Image.new("RGB", (30, 20), "red")


@pytest.mark.parametrize(
    ("suffix", "kind", "media"), [("jpg", "JPEG", "jpeg"), ("png", "PNG", "png"), ("webp", "WEBP", "webp")]
)
def test_what_browsers_display_is_sent_as_it_is(tmp_path, suffix, kind, media):
    content = encoded(RED, kind)
    picture = pictures(tmp_path, **{suffix: content}).picture(0)
    assert (picture.body, picture.media_type) == (content, f"image/{media}")


@pytest.mark.parametrize(("suffix", "kind"), [("tif", "TIFF"), ("bmp", "BMP"), ("gif", "GIF"), ("ppm", "PPM")])
def test_other_files_are_decoded(tmp_path, suffix, kind):
    picture = pictures(tmp_path, **{suffix: encoded(RED, kind)}).picture(0)
    assert picture.media_type == "image/png"
    assert opened(picture).convert("RGB").getpixel((3, 3)) == (255, 0, 0)


def test_an_animation_shows_the_frame_that_dal_reads(tmp_path):
    frames = [Image.new("RGB", (9, 9), color) for color in ("red", "blue")]
    for suffix, kind in (("png", "PNG"), ("webp", "WEBP"), ("gif", "GIF")):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        shown = opened(pictures(tmp_path, **{suffix: content}).picture(0))
        assert getattr(shown, "n_frames", 1) == 1
        assert shown.convert("RGB").getpixel((0, 0))[0] > 200


def test_the_content_decides_and_not_the_suffix(tmp_path):
    assert pictures(tmp_path, jpg=encoded(RED, "PNG")).picture(0).media_type == "image/png"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    with pytest.raises(PictureError, match="it is not an image that Pillow can read"):
        pictures(tmp_path, png=svg).picture(0)


def test_decoded_images_are_upright(tmp_path):
    exif = RED.getexif()
    exif[0x112] = 6
    turned = encoded(RED, "TIFF", exif=exif)
    if ImageOps.exif_transpose(Image.open(io.BytesIO(turned))).size == (
        20,
        30,
    ):  # old versions of Pillow do not turn it
        assert opened(pictures(tmp_path, tif=turned).picture(0)).size == (20, 30)
    assert opened(pictures(tmp_path, jpg=encoded(RED, "JPEG", exif=exif)).picture(0, side=96)).size == (20, 30)


def test_gray_of_16_bits_and_transparency_look_as_the_model_sees_them(tmp_path):
    deep = Image.fromarray(np.full((8, 8), 32896, dtype=np.uint16))
    assert opened(pictures(tmp_path, tif=encoded(deep, "TIFF")).picture(0)).convert("L").getpixel((0, 0)) == 128
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert opened(pictures(tmp_path, tiff=encoded(clear, "TIFF")).picture(0)).convert("L").getpixel((0, 0)) == 255


def test_a_huge_image_is_made_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr("dal.labeling.people.page.images._LARGE_PIXELS", 100_000)
    picture = pictures(tmp_path, jpg=encoded(Image.new("RGB", (4200, 100)), "JPEG")).picture(0)
    assert max(opened(picture).size) == MOST_SIDE
    assert picture.media_type == "image/jpeg"


def test_a_preview_is_small(tmp_path):
    picture = pictures(tmp_path, jpg=encoded(RED.resize((900, 600)), "JPEG")).picture(0, side=96)
    assert opened(picture).size == (96, 64)


def test_a_file_that_is_gone_or_no_file_has_a_sentence_without_its_path(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    found = FolderPictures(tmp_path, ["none.jpg", "folder.jpg", "pipe.jpg"])
    for index, is_gone in ((0, True), (1, False), (2, False)):
        with pytest.raises(PictureError) as error:
            found.picture(index)
        assert error.value.is_gone == is_gone
        assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_images_of_a_data_set_are_png(kind):
    data = toy_data(3)
    loads = []
    if kind == "float":
        values = torch.linspace(-1, 1, 3 * 64).view(3, 1, 8, 8)
        data = type("Data", (), {"source": type("Source", (), {"batch": staticmethod(lambda at: values[at])})})

    def load():
        loads.append(1)
        return data

    found = DataPictures(3, load)
    assert (len(found), loads) == (3, [])
    picture = found.picture(2)
    assert picture.media_type == "image/png"
    pixels = torch.from_numpy(np.array(opened(picture)))
    if kind == "float":
        assert (pixels.min(), pixels.max()) == (0, 255)
    else:
        raw = data.source.batch([2])[0].permute(1, 2, 0).squeeze()
        assert torch.equal(pixels.squeeze(), raw)
    found.picture(0)
    assert loads == [1]


def test_an_image_is_sent_once(tmp_path):
    site = site_of(tmp_path)
    with site.serve() as server:
        client = Client(server)
        status, headers, body = client.request("GET", "/image/0")
        assert (status, headers["Content-Type"], body) == (200, "image/jpeg", (site.root / "000.jpg").read_bytes())
        assert client.request("GET", "/image/0", If_None_Match=headers["ETag"])[0] == 304
        make_images(site.root, ["000.jpg"], side=30)
        assert client.request("GET", "/image/0", If_None_Match=headers["ETag"])[0] == 200
        assert client.request("HEAD", "/image/0")[2] == b""
        (site.root / "000.jpg").unlink()
        assert client.request("GET", "/image/0")[0] == 410


def test_a_data_set_is_served_too(tmp_path):
    site = site_of(tmp_path)
    data = toy_data(6)
    with PageServer(site.session(), DataPictures(6, lambda: data)) as server:
        assert Client(server).request("GET", "/image/5")[1]["Content-Type"] == "image/png"
