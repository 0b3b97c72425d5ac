"""SageMaker's data capture: write each request and its answer as a line of JSON to files in S3.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
"""

import base64
import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

SECONDS = 1.0
"""Seconds for which a file collects records before it is written (SageMaker: about a minute)."""

Put = Callable[[str, bytes], None]
"""Writes an object, given its s3:// address and its bytes."""


def _part(mode: str, content_type: str, body: bytes, settings: dict[str, Any]) -> dict[str, str]:
    kind = content_type.split(";")[0].strip().lower()
    kinds = settings.get("CaptureContentTypeHeader") or {}
    encoding = "BASE64"
    if kind in kinds.get("JsonContentTypes", []):
        encoding = "JSON"
    elif kind in kinds.get("CsvContentTypes", []):
        encoding = "CSV"
    data = base64.b64encode(body).decode("ascii") if encoding == "BASE64" else body.decode("utf-8")
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}


def record(
    request: tuple[str, bytes], answer: tuple[str, bytes], inference_id: str, settings: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """Return one record. ``request`` and ``answer`` are content type and body, ``settings`` is the endpoint's DataCaptureConfig.

    ``inference_id`` is the id that the request brought, "" if none.
    """
    modes = {option["CaptureMode"] for option in settings["CaptureOptions"]}
    captured = {}
    if modes & {"Input", "InputAndOutput"}:
        captured["endpointInput"] = _part("INPUT", *request, settings)
    if modes & {"Output", "InputAndOutput"}:
        captured["endpointOutput"] = _part("OUTPUT", *answer, settings)
    named = {"inferenceId": inference_id} if inference_id else {}
    about = {"eventId": str(uuid.uuid4()), **named, "inferenceTime": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    return {"captureData": captured, "eventMetadata": about, "eventVersion": "0"}


def address(destination: str, endpoint: str, variant: str, first: datetime) -> str:
    """Return the s3:// address of a new file. ``first`` is the time of its first record (UTC)."""
    milliseconds = first.microsecond // 1000
    name = f"{first:%M-%S}-{milliseconds:03d}-{uuid.uuid4()}.jsonl"
    return f"{destination.rstrip('/')}/{endpoint}/{variant}/{first:%Y/%m/%d/%H}/{name}"


class Capture:
    """Collects the records of one variant and writes them, several to a file."""

    def __init__(self, endpoint: str, variant: str, settings: dict[str, Any], put: Put) -> None:
        self._endpoint, self._variant, self._settings, self._put = endpoint, variant, settings, put
        self._lines: list[str] = []
        self._first = datetime.now(UTC)
        self._lock = threading.Lock()

    def add(self, request: tuple[str, bytes], answer: tuple[str, bytes], inference_id: str = "") -> None:
        """Record a request and its answer, each as content type and body."""
        now = datetime.now(UTC)
        line = json.dumps(record(request, answer, inference_id, self._settings, now), separators=(",", ":"))
        with self._lock:
            if not self._lines:
                self._first = now
                self._write_later()
            self._lines.append(line)

    def write(self) -> None:
        """Write the collected records. If that fails they are kept, and written later."""
        with self._lock:
            if not self._lines:
                return
            where = address(self._settings["DestinationS3Uri"], self._endpoint, self._variant, self._first)
            try:
                self._put(where, "".join(f"{line}\n" for line in self._lines).encode())
                self._lines = []
            finally:
                if self._lines:
                    self._write_later()

    def _write_later(self) -> None:
        timer = threading.Timer(SECONDS, self.write)
        timer.daemon = True
        timer.start()
