"""Extend Gradio's parser of uploads: errors in this server's form, and failed uploads are deleted."""

import errno
from contextlib import suppress
from pathlib import Path

from gradio import route_utils
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException

from stages.serving.container.errors import Refusal

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RETRY_AFTER = 60  # s


class UploadParser(route_utils.GradioMultiPartParser):
    """Writes the files of a form to the folder of uploads. If it fails, it deletes them and raises Refusal."""

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_part.file is None:  # Gradio would keep a field of any size in memory
            raise MultiPartException("only files can be uploaded")

    async def parse(self) -> FormData:
        try:
            return await super().parse()
        except BaseException as error:  # also if the client is gone
            for file in self._files_to_close_on_error:
                file.close()
                Path(file.name).unlink(missing_ok=True)
            if isinstance(error, MultiPartException):
                large = "maximum allowed size" in error.message
                raise Refusal(413 if large else 400, "too_large" if large else "unreadable", error.message) from None
            if isinstance(error, ValueError):  # the parser raises it, for example for a boundary that is too long
                raise Refusal(400, "unreadable", str(error)) from None
            if isinstance(error, OSError) and error.errno in FULL:
                raise no_space("the server's disk is full") from None
            raise


def no_space(words: str) -> Refusal:
    return Refusal(507, "no_space", words, RETRY_AFTER)


def install() -> None:
    """Let Gradio use `UploadParser`. It has no setting for that."""
    route_utils.GradioMultiPartParser = UploadParser  # type: ignore[misc]


def size(folder: Path) -> int:
    """Return the size of all files below ``folder``, in bytes."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # deleted meanwhile
            total += path.lstat().st_size
    return total
