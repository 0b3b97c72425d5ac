"""AWS on this machine: moto keeps the resources, and a front before it runs the functions and serves the models for real.

    python -m stages.scones.aws.stand_in.server

It listens on loopback alone, on a port that the system picks, prints its address as its first line, and ends when its
standard input closes. Clients are told of it by AWS_ENDPOINT_URL and notice no other difference.
"""

import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug import Request, Response
from werkzeug.serving import make_server

from stages.scones.aws.stand_in import deployed, mends
from stages.scones.aws.stand_in.endpoints import Endpoints, refusal
from stages.scones.aws.stand_in.faults import Fault, Faults
from stages.scones.aws.stand_in.functions import CREDENTIALS, Functions

INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
INVOKE_ENDPOINT = re.compile(r"/endpoints/([^/]+)/invocations")
SCOPE = re.compile(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/aws4_request")


class Handler(MotoRequestHandler):
    disable_nagle_algorithm = True  # or each answer's second half waits 40 ms


class Front:
    """The application: what is to be executed is executed here, everything else is moto's."""

    def __init__(self, address: str) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._functions = Functions(address)
        self._endpoints = Endpoints(deployed.read, deployed.write)
        self._faults = Faults()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        scope = SCOPE.search(request.headers.get("Authorization", ""))
        region, service = scope.groups() if scope else ("", "")
        response = self._answer(request, region, service)
        if response is not None:
            request.get_data()  # read to its end, or the connection's next request would begin in the middle of it
            return response(environ, start_response)
        answer: Iterable[bytes] = self._moto(environ, start_response)
        if service in ("cloudformation", "lambda", "sagemaker"):
            self._stop_what_is_gone()
        return answer

    def _answer(self, request: Request, region: str, service: str) -> Response | None:
        if request.path == "/stand-in/faults" and request.method == "POST":
            self._faults.add(Fault(**json.loads(request.get_data())))
            return Response(status=204)
        if fault := self._faults.answer(service, request.path):
            return fault
        if service == "lambda" and (match := INVOKE.fullmatch(request.path)):
            return self._invoke(match[1], region, request)
        if service == "sagemaker" and (match := INVOKE_ENDPOINT.fullmatch(request.path)):
            return self._invoke_endpoint(match[1], region, request)
        return None

    def _invoke(self, name: str, region: str, request: Request) -> Response:
        code = deployed.function(region, name)
        if code is None:
            message = json.dumps({"Type": "User", "Message": f"Function not found: {name}"})
            return Response(message, 404, {"x-amzn-ErrorType": "ResourceNotFoundException"}, None, "application/json")
        answer = self._functions.invoke(code, request.get_data() or b"{}")
        headers = {"X-Amz-Executed-Version": "$LATEST"}
        if answer.failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        return Response(answer.payload, 200, headers, content_type="application/json")

    def _invoke_endpoint(self, name: str, region: str, request: Request) -> Response:
        found = deployed.endpoint(region, name)
        if found is None:
            answer = refusal(400, "ValidationError", f"Endpoint {name} not found.")
        else:
            content_type = request.headers.get("Content-Type", "application/octet-stream")
            accept = request.headers.get("Accept", "*/*")
            target = request.headers.get("X-Amzn-SageMaker-Target-Variant")
            answer = self._endpoints.of(found).invoke(request.get_data(), content_type, accept, target)
        headers = {"x-amzn-ErrorType": answer.error} if answer.error else {}
        if answer.variant:
            headers["x-Amzn-Invoked-Production-Variant"] = answer.variant
        return Response(answer.body, answer.status, headers, content_type=answer.content_type)

    def _stop_what_is_gone(self) -> None:
        functions, endpoints = deployed.functions_and_endpoints()
        self._functions.keep_only(functions)
        self._endpoints.keep_only(endpoints)

    def stop(self) -> None:
        self._functions.keep_only(set())
        self._endpoints.keep_only(set())


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    logging.getLogger("moto").setLevel(logging.CRITICAL)  # it would print every execution that fails
    # moto is a client of itself, SAM's translator asks for a region, and no request of this process may leave the machine.
    os.environ |= {"AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"), **CREDENTIALS}
    server = make_server("127.0.0.1", 0, _starting, threaded=True, request_handler=Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    os.environ |= {"MOTO_PORT": str(server.server_port), "AWS_ENDPOINT_URL": address}
    mends.apply()
    front = server.app = Front(address)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle; it closes the standard input
    try:
        print(address, flush=True)
        while os.read(0, 1024):
            pass
    finally:
        server.shutdown()
        front.stop()


def _starting(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Nobody knows the address before the front is there."""
    return Response(status=503)(environ, start_response)


if __name__ == "__main__":
    main()
