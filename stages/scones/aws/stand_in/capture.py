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
    as_text = {"JSON": kinds.get("JsonContentTypes", []), "CSV": kinds.get("CsvContentTypes", [])}
    encoding = next((name for name, types in as_text.items() if kind in types), "BASE64")
    data = base64.b64encode(body).decode("ascii") if encoding == "BASE64" else body.decode("utf-8")
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}


class Capture:
    """Collects the records of one variant and writes them, several to a file. ``settings`` is the endpoint's DataCaptureConfig."""

    def __init__(self, endpoint: str, variant: str, settings: dict[str, Any], put: Put) -> None:
        self._settings, self._put = settings, put
        self._folder = f"{settings['DestinationS3Uri'].rstrip('/')}/{endpoint}/{variant}"
        self._lines: list[str] = []
        self._first = datetime.now(UTC)
        self._lock = threading.Lock()

    def add(self, request: tuple[str, bytes], answer: tuple[str, bytes], inference_id: str = "") -> None:
        """Record a request and its answer, each as content type and body, with the id that the request brought, "" if none."""
        now = datetime.now(UTC)
        modes = {option["CaptureMode"] for option in self._settings["CaptureOptions"]}
        captured = {}
        if modes & {"Input", "InputAndOutput"}:
            captured["endpointInput"] = _part("INPUT", *request, self._settings)
        if modes & {"Output", "InputAndOutput"}:
            captured["endpointOutput"] = _part("OUTPUT", *answer, self._settings)
        named = {"inferenceId": inference_id} if inference_id else {}
        about = {"eventId": str(uuid.uuid4()), **named, "inferenceTime": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
        record = {"captureData": captured, "eventMetadata": about, "eventVersion": "0"}
        with self._lock:
            if not self._lines:
                self._first = now
                self._write_later()
            self._lines.append(json.dumps(record, separators=(",", ":")) + "\n")

    def write(self) -> None:
        """Write the collected records to a file named by the time of the first. If that fails they are written later."""
        with self._lock:
            if not self._lines:
                return
            hour, moment = f"{self._first:%Y/%m/%d/%H}", f"{self._first:%M-%S-%f}"[:-3]  # to the millisecond
            try:
                self._put(f"{self._folder}/{hour}/{moment}-{uuid.uuid4()}.jsonl", "".join(self._lines).encode())
                self._lines = []
            finally:
                if self._lines:
                    self._write_later()

    def _write_later(self) -> None:
        timer = threading.Timer(SECONDS, self.write)
        timer.daemon = True
        timer.start()
