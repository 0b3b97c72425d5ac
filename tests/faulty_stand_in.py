"""The stand-in for AWS with failures on demand: the next matching requests get the answer of a failing service.

`python -m faulty_stand_in` is the server; POST /stand-in/faults announces a fault, GET lists those that are still to come.
"""

import json
import re
import threading
from typing import Any

from werkzeug import Request, Response

from stages.scones.aws.stand_in import server


class FaultyFront(server.Front):
    """The front of the stand-in, which meets the announced faults first.

    A fault is an error for the next ``times`` requests to ``service`` whose path matches ``path``: ``status`` and
    ``code``. The service is the name in a request's signature: s3, sns, sagemaker or lambda.
    """

    def __init__(self, address: str, key: str) -> None:
        super().__init__(address, key)
        self._faults: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def _answer(self, request: Request, region: str, service: str) -> Response | None:
        with self._lock:
            if request.path == "/stand-in/faults" and request.method == "GET":
                return Response(json.dumps(self._faults), content_type="application/json")
            if request.path == "/stand-in/faults":
                self._faults.append(json.loads(request.get_data()))
                return Response(status=204)
            met = [one for one in self._faults if one["service"] == service and re.search(one["path"], request.path)]
            if met:
                met[0]["times"] -= 1
                self._faults = [one for one in self._faults if one["times"]]
        return _response(**met[0]) if met else super()._answer(request, region, service)


def _response(service: str, status: int, code: str, **_: Any) -> Response:
    if service in ("s3", "sns"):
        text = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
        text = text if service == "s3" else f"<ErrorResponse>{text}<RequestId>0</RequestId></ErrorResponse>"
        return Response(text, status, content_type="application/xml")
    body = json.dumps({"message": "injected", "Message": "injected"})
    return Response(body, status, {"x-amzn-ErrorType": code}, content_type="application/json")


if __name__ == "__main__":
    server.main(FaultyFront)
