import errno
import json
import os
import pickle
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dal.data.images import TensorSource
from dal.data.sources.folder import decoding, pixel_cache
from dal.data.sources.folder.cached_images import CachedSource, cache_folder
from dal.data.sources.folder.decoding import read_images
from dal.errors import DalError

SIZE = 4


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "photos"
    for number in range(5):
        write(folder / f"{number}.png", number)
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """The paths of the files that are decoded."""
    found = []
    whole = decoding._square

    def square(file, *rest):
        found.append(file)
        return whole(file, *rest)

    monkeypatch.setattr(decoding, "_square", square)
    return found


def write(path, number, age=60):
    """Write an image that is as old as files of a user are."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(path)
    when = path.stat().st_mtime_ns - age * 10**9
    os.utime(path, ns=(when, when))


def settle(monkeypatch):
    """Let the times of change, which no test can set, count as old."""
    monkeypatch.setattr(pixel_cache, "_SETTLED_NS", 0)


def names(root):
    return sorted(path.name for path in root.iterdir())


def read(root, cache, files=None, **options):
    """Read with and without the cache, and check that both agree."""
    files = names(root) if files is None else files
    found, plain = read_images(root, files, SIZE, cache=str(cache), **options), read_images(root, files, SIZE)
    places = range(len(found.files))
    assert torch.equal(found.source.batch(places), plain.source.batch(places))
    assert found.source.digests(places) == plain.source.digests(places)
    assert found[1:] == plain[1:]
    return found


def cached_again(root, cache, decoded, **options):
    """Return how many files a start decodes with the cache."""
    decoded.clear()
    read_images(root, names(root), SIZE, cache=str(cache), **options)
    return len(decoded)


def test_a_second_start_decodes_nothing(root, cache, decoded, monkeypatch):
    settle(monkeypatch)
    assert isinstance(read(root, cache).source, CachedSource)
    assert cached_again(root, cache, decoded) == 0
    read(root, cache)


def test_pixels_come_into_memory_on_demand(root, cache):
    assert isinstance(read(root, cache, in_memory=True).source, TensorSource)


def test_a_changed_an_added_and_a_removed_file_are_noticed(root, cache, decoded, monkeypatch):
    settle(monkeypatch)
    read(root, cache)
    write(root / "1.png", 77)
    write(root / "9.png", 9)
    (root / "3.png").unlink()
    assert cached_again(root, cache, decoded) == 2
    read(root, cache)


def test_a_file_of_the_same_size_and_time_with_other_pixels_is_noticed(root, cache, decoded, monkeypatch):
    settle(monkeypatch)
    Image.new("RGB", (6, 6), (1, 2, 3)).save(root / "1.bmp")
    before = (root / "1.bmp").stat()
    read(root, cache)
    Image.new("RGB", (6, 6), (3, 2, 1)).save(root / "1.bmp")
    os.utime(root / "1.bmp", ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert cached_again(root, cache, decoded) == 1
    read(root, cache)


def test_a_file_with_a_new_time_and_the_same_content_is_not_decoded(root, cache, decoded, monkeypatch):
    settle(monkeypatch)
    read(root, cache)
    os.utime(root / "2.png")
    assert cached_again(root, cache, decoded) == 0
    monkeypatch.setattr(decoding, "_content", None)  # the new time is remembered, so no file is read
    assert cached_again(root, cache, decoded) == 0


def test_a_file_that_changed_just_before_it_was_read_is_compared_by_content(root, cache, decoded, monkeypatch):
    read(root, cache)
    contents = []
    whole = decoding._content
    monkeypatch.setattr(decoding, "_content", lambda file: contents.append(file) or whole(file))
    assert cached_again(root, cache, decoded) == 0 and len(contents) == 5


def test_files_that_cannot_be_decoded_are_set_aside_at_each_start(root, cache, monkeypatch):
    settle(monkeypatch)
    (root / "bad.png").write_bytes(b"no image")
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 6 images"):
            assert list(read(root, cache).set_aside) == ["bad.png"]
    (root / "0.png").write_bytes(b"no image any more")
    with pytest.warns(UserWarning, match="2 of 6 images"):
        assert read(root, cache).files == ["1.png", "2.png", "3.png", "4.png"]


@pytest.mark.parametrize("at", [0, 40, 200, -1])
def test_a_damaged_index_is_rebuilt_with_a_sentence(root, cache, decoded, at):
    read(root, cache)
    (index,) = cache.glob("*.index")
    content = bytearray(index.read_bytes())
    content[at] ^= 1
    index.write_bytes(content)
    with pytest.warns(UserWarning, match=r"data.cache: '.*index' is damaged, so the files are read again"):
        assert cached_again(root, cache, decoded) == 5
    assert len(list(cache.glob("*.pixels"))) == 1
    read(root, cache)


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: saved.update(entries=[]),
        lambda saved: saved.update(generation="../../x"),
        lambda saved: saved["entries"]["0.png"].__setitem__(0, 0.5),
        lambda saved: saved["entries"]["0.png"].__setitem__(4, ["no digest"]),
        lambda saved: saved["entries"]["0.png"].__setitem__(2, []),
    ],
)
def test_an_index_with_a_right_checksum_and_wrong_values_is_rebuilt(root, cache, decoded, change):
    read(root, cache)
    (index,) = cache.glob("*.index")
    saved = json.loads(index.read_bytes().partition(b"\n")[2])
    change(saved)
    text = json.dumps(saved).encode()
    index.write_bytes(pixel_cache._digest(text).encode() + b"\n" + text)
    with pytest.warns(UserWarning, match="index' is damaged, so the files are read again"):
        assert cached_again(root, cache, decoded) == 5


@pytest.mark.parametrize("kind", ["index", "pixels", "lock"])
@pytest.mark.parametrize("make", [lambda path, other: path.symlink_to(other), lambda path, other: os.mkfifo(path)])
def test_a_cache_with_a_link_or_a_pipe_is_not_used(root, cache, tmp_path, kind, make):
    read(root, cache, ["0.png"])
    (tmp_path / "thesis.txt").write_text("text")
    (file,) = cache.glob(f"*.{kind}")
    file.unlink()
    make(file, tmp_path / "thesis.txt")
    with pytest.warns(UserWarning, match=r"data\.cache: .* cannot be used \(Not a regular file\)"):
        read(root, cache)
    assert (tmp_path / "thesis.txt").read_text() == "text"


@pytest.mark.parametrize("damage", ["shorter", "gone"])
def test_missing_rows_are_rebuilt(root, cache, decoded, damage):
    read(root, cache)
    (pixels,) = cache.glob("*.pixels")
    pixels.unlink() if damage == "gone" else os.truncate(pixels, 3 * SIZE * SIZE)
    with pytest.warns(UserWarning, match="is damaged"):
        assert cached_again(root, cache, decoded) == 5


def test_damaged_pixels_are_never_returned(root, cache, decoded, monkeypatch):
    settle(monkeypatch)
    read(root, cache)
    (pixels,) = cache.glob("*.pixels")
    content = bytearray(pixels.read_bytes())
    content[2 * 3 * SIZE * SIZE + 5] ^= 4  # in the third image
    pixels.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged, so files are read again, now and at the next start"):
        read(root, cache)
    assert cached_again(root, cache, decoded) == 5
    read(root, cache)


def test_an_interrupted_start_keeps_what_it_has_decoded(root, cache, decoded, monkeypatch):
    settle(monkeypatch)
    monkeypatch.setattr(decoding, "_CHUNK", 1)
    whole = decoding._attempt

    def attempt(folder, file, *rest):
        if file == "3.png":
            raise KeyboardInterrupt
        return whole(folder, file, *rest)

    monkeypatch.setattr(decoding, "_attempt", attempt)
    with pytest.raises(KeyboardInterrupt):
        read_images(root, names(root), SIZE, cache=str(cache))
    monkeypatch.setattr(decoding, "_attempt", whole)
    assert cached_again(root, cache, decoded) == 2
    read(root, cache)


def test_rows_that_a_killed_process_left_are_overwritten(root, cache, monkeypatch):
    settle(monkeypatch)
    read(root, cache, ["0.png", "1.png"])
    (pixels,) = cache.glob("*.pixels")
    with pixels.open("ab") as file:
        file.write(b"x" * (3 * SIZE * SIZE + 7))
    read(root, cache)


def test_a_process_that_is_killed_after_any_image_leaves_a_valid_cache(root, cache, decoded, monkeypatch):
    settle(monkeypatch)
    monkeypatch.setattr(pixel_cache, "_PUBLISH_SECONDS", -1e9)  # after each image
    states = []
    whole = pixel_cache.PixelCache.publish

    def publish(self, contents):
        whole(self, contents)
        states.append((self.index.read_bytes(), self.pixels(contents)))

    with monkeypatch.context() as patch:
        patch.setattr(pixel_cache.PixelCache, "publish", publish)
        read(root, cache)
    assert len(states) == 5
    for count, (index, pixels) in enumerate(states, start=1):
        next(cache.glob("*.index")).write_bytes(index)
        with pixels.open("r+b") as file:
            file.seek(count * 3 * SIZE * SIZE)
            file.write(b"half a row")
        assert cached_again(root, cache, decoded) == 5 - count
        read(root, cache)


def test_a_full_disk_leaves_a_sentence_and_a_start_without_cache(root, cache, monkeypatch):
    settle(monkeypatch)
    read(root, cache, ["0.png"])

    def full(self, name, *rest):
        self._failed = True
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match=r"cannot be used \(No space left on device\)"):
        patch.setattr(pixel_cache.Filling, "add", full)
        read(root, cache)
    assert sum(path.stat().st_size for path in cache.glob("*.pixels")) == 3 * SIZE * SIZE
    read(root, cache)


def test_a_folder_that_cannot_be_locked_or_written_is_not_used(root, cache, tmp_path, monkeypatch):
    def no_locks(self, timeout=None):
        raise NotImplementedError("FileSystem does not appear to support flock")

    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match=r"data\.cache: .* cannot be used \(Not a directory\)"):
        read(root, tmp_path / "file" / "cache")
    monkeypatch.setattr(pixel_cache.FileLock, "acquire", no_locks)
    with pytest.warns(UserWarning, match=r"cannot be used \(No locks available\)"):
        read(root, cache)


def test_starts_at_the_same_time_decode_each_image_once(root, cache, decoded, monkeypatch):
    settle(monkeypatch)
    together = threading.Barrier(3)

    def start():
        together.wait()
        read_images(root, names(root), SIZE, cache=str(cache))

    starts = [threading.Thread(target=start) for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in starts:
            one.start()
        for one in starts:
            one.join()
    assert len(decoded) == 5
    read(root, cache)


def test_unused_rows_are_removed_while_others_read_them(root, cache, monkeypatch):
    settle(monkeypatch)
    monkeypatch.setattr(pixel_cache, "_SPARE_ROWS", 0)
    first = read(root, cache)
    before = first.source.batch(range(5))
    for number in (0, 1, 2, 3):
        (root / f"{number}.png").unlink()
    for change in range(5):
        write(root / "4.png", 50 + change)
        read(root, cache)
    (pixels,) = cache.glob("*.pixels")
    assert pixels.stat().st_size <= 4 * 3 * SIZE * SIZE
    assert torch.equal(first.source.batch(range(5)), before)


def test_another_process_reads_the_same_images(root, cache):
    source = read(root, cache).source
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy.batch([3, 1, 1]), source.batch([3, 1, 1]))


def test_image_sizes_decoders_and_folders_do_not_share_pixels(root, cache, tmp_path, monkeypatch):
    read(root, cache)
    read_images(root, names(root), SIZE + 1, cache=str(cache))
    monkeypatch.setattr("dal.data.sources.folder.cached_images._DECODER", 0)
    read(root, cache)
    root.rename(tmp_path / "others")
    read(tmp_path / "others", cache)
    assert len(list(cache.glob("*.index"))) == 4


def test_only_a_folder_outside_of_the_images_is_accepted(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("auto", tmp_path / "photos") == tmp_path / "dal" / "images"
    assert cache_folder(None, tmp_path) is None
    assert cache_folder(f"{tmp_path}/new", tmp_path / "photos") == Path(tmp_path / "new")
    (tmp_path / "file").write_text("")
    for wrong in ("", f"{tmp_path}/file", "a\0b"):
        with pytest.raises(DalError, match=r"data\.cache: expected a folder, auto or null"):
            cache_folder(wrong, tmp_path / "photos")
    with pytest.raises(DalError, match=r"data\.cache: expected a folder outside of the images"):
        cache_folder(f"{tmp_path}/photos/cache", tmp_path / "photos")
