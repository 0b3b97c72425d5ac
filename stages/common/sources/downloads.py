"""Download files: show progress, resume, retry, and check size and checksum."""

from collections.abc import Sequence
from pathlib import Path

import httpx
import tenacity
from tqdm import tqdm

from stages.common import files
from stages.common.errors import InputError


class _PassingError(Exception):
    """A failure that another attempt may fix."""


def download(
    urls: Sequence[str],
    path: Path,
    size: int | None = None,
    checksum: str | None = None,
    *,
    auth: tuple[str, str] | None = None,
    attempts: int = 5,
    stalled: float = 30.0,
    wait: float = 1.0,
) -> Path:
    """Download a file to ``path`` from the first of ``urls`` that provides it, and return ``path``.

    Does nothing if the file is there and valid. ``size`` is in bytes, ``checksum`` an algorithm and its hexadecimal
    digest (``md5:0123...``), ``auth`` a user name and password. A partial download is kept and resumed. Each URL gets
    ``attempts`` attempts. The wait between them starts at ``wait`` seconds and doubles each time. An attempt fails
    after ``stalled`` seconds without data. Raises InputError with each URL, its error, and the remedy.
    """
    if path.exists() and _fault(path, size, checksum) is None:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    failures = []
    for index, url in enumerate(urls):
        if index and checksum is None:
            part.unlink(missing_ok=True)  # another URL may have another file
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((_PassingError, httpx.TransportError)),
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_exponential_jitter(multiplier=wait, max=30, jitter=wait / 2),
            before_sleep=lambda state: print(
                f"{state.args[0]}: {state.outcome and state.outcome.exception()}; "
                f"attempt {state.attempt_number + 1} of {attempts}"
            ),
            reraise=True,
        )
        try:
            retrying(_attempt, url, part, size, checksum, auth, stalled)
        except (_PassingError, httpx.HTTPError, httpx.InvalidURL) as error:
            failures.append(f"{url}: {str(error) or type(error).__name__}")
        else:
            part.replace(path)
            return path
    raise InputError(
        f"{path.name} could not be downloaded ({'; '.join(failures)}): check the network and run this again, "
        f"or save the file as {path} yourself"
    )


def _attempt(
    url: str, part: Path, size: int | None, checksum: str | None, auth: tuple[str, str] | None, stalled: float
) -> None:
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have >= size:
        have = 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    with httpx.stream("GET", url, headers=headers, auth=auth, follow_redirects=True, timeout=stalled) as response:
        if response.status_code == 416:  # the partial file is not a beginning of that file
            part.unlink()
            raise _PassingError("the server could not resume")
        if response.status_code >= 500 or response.status_code == 429:
            raise _PassingError(f"HTTP {response.status_code}")
        response.raise_for_status()
        resumed = response.status_code == 206
        length = int(response.headers.get("Content-Length", 0)) + (have if resumed else 0)
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(
                total=length or size, initial=have if resumed else 0, desc=part.stem, unit="B", unit_scale=True
            ) as bar,
        ):
            for chunk in response.iter_bytes():
                file.write(chunk)
                bar.update(len(chunk))
    if fault := _fault(part, size or length or None, checksum):
        if size is None or part.stat().st_size >= size:
            part.unlink()  # corrupt, not only incomplete: restart
        raise _PassingError(fault)


def _fault(path: Path, size: int | None, checksum: str | None) -> str | None:
    """Return what is wrong with the file at ``path``, or None."""
    if size is not None and path.stat().st_size != size:
        return f"{path.stat().st_size} bytes instead of {size}"
    if checksum is not None:
        algorithm, expected = checksum.split(":")
        actual = files.digest(path, algorithm)
        if actual != expected:
            return f"{algorithm} {actual} instead of {expected}"
    return None
