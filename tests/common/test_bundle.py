"""model.tar.gz: the same bytes for the same model, and no path out of the folder it is unpacked into."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from stages.common.models import bundle


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text("def model_fn(model_dir): ...")
    (tmp_path / "weights").write_text("hello ")
    bundle.pack(tmp_path / "model.tar.gz", {"code": tmp_path / "code", "weights": tmp_path / "weights"})
    return tmp_path / "model.tar.gz"


def test_the_same_contents_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    first = archive.read_bytes()
    os.utime(tmp_path / "weights", (1, 1))
    bundle.pack(archive, {"weights": tmp_path / "weights", "code": tmp_path / "code"})
    assert archive.read_bytes() == first
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["code/inference.py", "weights"]


def test_what_is_unpacked_is_what_was_packed(archive: Path, tmp_path: Path) -> None:
    bundle.unpack(archive, tmp_path / "model")
    assert (tmp_path / "model" / "code" / "inference.py").read_text() == "def model_fn(model_dir): ..."
    assert (tmp_path / "model" / "weights").read_text() == "hello "


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("../evil")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(tarfile.TarError, match="evil is not a regular file or folder below"):
        bundle.unpack(tmp_path / "evil.tar.gz", tmp_path / "model")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("weights")
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(tarfile.TarError, match="weights is not a regular file"):
        bundle.unpack(tmp_path / "evil.tar.gz", tmp_path / "model")
    assert not (tmp_path / "model").exists()
