"""The real data: 6,246 photographs of 50 landmarks, a subset of Google Landmarks v2 that Udacity put together.

No checksum of it is published. So the download is accepted if its length is the one that the server announced, every
file in it matches its CRC-32, and the 50 classes hold the expected number of photographs. The photographs have their
own authors and licences, listed in https://github.com/cvdfoundation/google-landmark.
"""

import shutil
from pathlib import Path

from stages.common import files
from stages.common.errors import InputError
from stages.common.sources.downloads import download
from stages.landmarks.sources.intake.archives import unpack_zip

URLS = ["https://udacity-dlnfd.s3-us-west-1.amazonaws.com/datasets/landmark_images.zip"]
FOLDER = "landmark_images"
"""The archive's only folder."""

CLASSES = 50
PHOTOGRAPHS = {"train": 4_996, "test": 1_250}

MAX_BYTES = 2_000_000_000
"""Largest accepted size of the unpacked archive. The photographs take about 600 MB."""

MAX_FILES = 20_000
"""Largest accepted number of files. Archives packed on a Mac have a hidden file beside each photograph."""


def fetch(folder: Path) -> None:
    """Fill ``folder`` with ``train/NN.Name/*.jpg`` and ``test/NN.Name/*.jpg``.

    Raises InputError if the archive cannot be downloaded, or is not the published one.
    """
    archive = download(URLS, files.home() / "data" / "downloads" / "landmarks" / "landmark_images.zip")
    unpacked = folder / "unpacked"
    try:
        unpack_zip(archive, unpacked, max_bytes=MAX_BYTES, max_files=MAX_FILES)
        for part, expected in PHOTOGRAPHS.items():
            check(unpacked / FOLDER / part, expected)
    except InputError as error:
        raise InputError(f"{error}: delete {archive} to download it again") from None
    for part in PHOTOGRAPHS:
        (unpacked / FOLDER / part).rename(folder / part)
    shutil.rmtree(unpacked)


def check(part: Path, expected: int) -> None:
    """Raise InputError unless the folder ``part`` has the 50 classes and ``expected`` photographs in total."""
    found = sorted(path.name for path in part.glob("*.*") if path.is_dir())
    numbers = [name.partition(".")[0] for name in found]
    if numbers != [f"{number:02}" for number in range(CLASSES)]:
        raise InputError(f"{FOLDER}/{part.name}: found {len(found)} classes, expected {CLASSES}, numbered from 00")
    photographs = sum(not path.name.startswith(".") for path in part.glob("*/*.jpg"))
    if photographs != expected:
        raise InputError(f"{FOLDER}/{part.name}: found {photographs} photographs, expected {expected}")
