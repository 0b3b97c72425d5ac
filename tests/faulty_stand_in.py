"""The stand-in for AWS with failures on demand: the next matching requests get the answer of a failing service.

`python -m faulty_stand_in` is the server; POST /stand-in/faults announces a fault, GET lists those that are still to come.
"""

import json
import re
import threading
import time
from dataclasses import asdict, dataclass
from xml.sax.saxutils import escape

from werkzeug import Request, Response

from stages.scones.aws.stand_in import server


@dataclass
class Fault:
    """An error response for the next ``times`` requests to ``service`` whose path matches, after ``delay`` seconds.

    ``service`` is the name in a request's signature: s3, sns, sagemaker or lambda.
    """

    service: str
    path: str
    status: int
    code: str
    message: str
    times: int = 1
    delay: float = 0.0


class FaultyFront(server.Front):
    """The front of the stand-in, which meets the announced faults first."""

    def __init__(self, address: str, key: str) -> None:
        super().__init__(address, key)
        self._faults: list[Fault] = []  # those that have not happened yet, or not often enough
        self._lock = threading.Lock()

    def _answer(self, request: Request, region: str, service: str) -> Response | None:
        if request.path == "/stand-in/faults":
            with self._lock:
                if request.method != "POST":
                    pending = [asdict(fault) for fault in self._faults]
                    return Response(json.dumps(pending), content_type="application/json")
                self._faults.append(Fault(**json.loads(request.get_data())))
                return Response(status=204)
        return self._fault(service, request.path) or super()._answer(request, region, service)

    def _fault(self, service: str, path: str) -> Response | None:
        """Return the error response for this request, or None."""
        with self._lock:
            found = next((f for f in self._faults if f.service == service and re.search(f.path, path)), None)
            if found is None:
                return None
            found.times -= 1
            if not found.times:
                self._faults.remove(found)
        time.sleep(found.delay)
        if service in ("s3", "sns"):
            text = f"<Error><Code>{found.code}</Code><Message>{escape(found.message)}</Message></Error>"
            text = text if service == "s3" else f"<ErrorResponse>{text}<RequestId>0</RequestId></ErrorResponse>"
            return Response(text, found.status, content_type="application/xml")
        body = json.dumps({"message": found.message, "Message": found.message})
        return Response(body, found.status, {"x-amzn-ErrorType": found.code}, content_type="application/json")


if __name__ == "__main__":
    server.main(FaultyFront)
