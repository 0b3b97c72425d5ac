"""AWS on this machine: moto stores the resources, and a front end before it runs the functions and serves the models.

    python -m stages.scones.aws.stand_in.server [--keep]

It listens only on loopback, on a port that the system picks. Its first line of output is its address and an access key. It
ends when its standard input closes, with --keep only when it is terminated. Clients find it by AWS_ENDPOINT_URL and notice no
other difference. Requests that are not signed with the key are refused, because a function runs code as this process's user.
"""

import json
import logging
import os
import re
import secrets
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Iterable
from functools import partial
from html import escape
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug import Request, Response
from werkzeug.serving import make_server

from stages.common.errors import InputError
from stages.scones.aws.stand_in import alarms, moto_patches, moto_state
from stages.scones.aws.stand_in.endpoints import Endpoints, refusal, shift
from stages.scones.aws.stand_in.functions import Functions
from stages.scones.aws.stand_in.local import LOOPBACK, credentials
from stages.scones.aws.stand_in.scratch import scratch_folder

INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
INVOKE_ENDPOINT = re.compile(r"/endpoints/([^/]+)/invocations")
SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")


class Handler(MotoRequestHandler):
    disable_nagle_algorithm = True  # otherwise the second half of each answer waits 40 ms


class Front:
    """The application. It runs functions and models itself and passes everything else to moto."""

    def __init__(self, address: str, key: str) -> None:
        self._key = key
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._functions = Functions({"AWS_ENDPOINT_URL": address, **credentials(key)})
        self._endpoints = Endpoints(moto_state.read, moto_state.write, alarms.record_request)
        self._following = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        scope = SCOPE.search(request.headers.get("Authorization", ""))
        key, region, service = scope.groups() if scope else ("", "", "")
        if secrets.compare_digest(key.encode(), self._key.encode()):
            response = self._answer(request, region, service)
        else:
            response = Response("this server belongs to another user", 403)
        if response is not None:
            request.get_data()  # read to its end: otherwise the connection's next request would begin in the middle of it
            return response(environ, start_response)
        if service in ("cloudformation", "sagemaker"):
            self._endpoints.wait()  # because moto answers that an endpoint is in service
        if service == "monitoring":
            self._evaluate_alarms(region)
        try:
            response = Response.from_app(self._moto, environ)
        except Exception as error:
            response = _failing(request, error)
        if service in ("cloudformation", "lambda", "sagemaker"):
            self.follow()
        return response(environ, start_response)

    def _answer(self, request: Request, region: str, service: str) -> Response | None:
        if service == "lambda" and (match := INVOKE.fullmatch(request.path)):
            return self._invoke(match[1], region, request)
        if service == "sagemaker" and request.headers.get("X-Amz-Target") == "SageMaker.UpdateEndpoint":
            return self._update_endpoint(region, json.loads(request.get_data()))
        if service == "sagemaker" and (match := INVOKE_ENDPOINT.fullmatch(request.path)):
            return self._invoke_endpoint(match[1], region, request)
        return None

    def _invoke(self, name: str, region: str, request: Request) -> Response:
        headers = {"x-amzn-RequestId": str(uuid.uuid4())}
        code = moto_state.function(region, name, request.args.get("Qualifier"))
        if code is None:
            message = json.dumps({"Type": "User", "Message": f"Function not found: {name}"})
            headers["x-amzn-ErrorType"] = "ResourceNotFoundException"
            return Response(message, 404, headers, content_type="application/json")
        event, kind = request.get_data() or b"{}", request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == "DryRun":
            return Response(status=204, headers=headers)
        if kind == "Event":
            threading.Thread(target=self._functions.invoke, args=(code, event), daemon=True).start()
            return Response(status=202, headers=headers)
        answer = self._functions.invoke(code, event)
        headers["X-Amz-Executed-Version"] = code.version
        if answer.failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        return Response(answer.payload, 200, headers, content_type="application/json")

    def _invoke_endpoint(self, name: str, region: str, request: Request) -> Response:
        found, asked = moto_state.endpoint(region, name), request.headers
        if found is None:
            answer = refusal(400, "ValidationError", f"Endpoint {name} not found.")
        else:
            answer = self._endpoints.of(found).invoke(
                request.get_data(),
                asked.get("Content-Type", "application/octet-stream"),
                asked.get("Accept", "*/*"),
                weights=partial(moto_state.weights, region, name),
                target=asked.get("X-Amzn-SageMaker-Target-Variant"),
                inference_id=asked.get("X-Amzn-SageMaker-Inference-Id", ""),
                waiting=partial(_is_open, request.environ["werkzeug.socket"]),
            )
        headers = {"x-amzn-ErrorType": answer.error} if answer.error else {}
        if answer.variant:
            headers["x-Amzn-Invoked-Production-Variant"] = answer.variant
        return Response(answer.body, answer.status, headers, content_type=answer.content_type)

    def _update_endpoint(self, region: str, wanted: dict[str, Any]) -> Response:
        """Begin an UpdateEndpoint, which moto lacks. As on AWS the endpoint is `Updating` until it ends."""
        name, config = wanted.get("EndpointName", ""), wanted.get("EndpointConfigName", "")
        deployment = wanted.get("DeploymentConfig") or {}
        try:
            if moto_state.endpoint(region, name) is None:
                raise InputError(f"Could not find endpoint {name}.")
            moto_state.configured(region, name, config)
            shift(deployment, _instances(region, config))
        except (InputError, KeyError) as error:
            body = json.dumps({"__type": "ValidationException", "message": f"{type(error).__name__}: {error}"})
            return Response(body, 400, content_type="application/x-amz-json-1.1")
        arguments = (region, name, config, deployment)
        threading.Thread(target=self.update_endpoint, args=arguments, daemon=True).start()
        arn = f"arn:aws:sagemaker:{region}:{DEFAULT_ACCOUNT_ID}:endpoint/{name}"
        return Response(json.dumps({"EndpointArn": arn}), content_type="application/x-amz-json-1.1")

    def update_endpoint(self, region: str, name: str, config: str, deployment: dict[str, Any]) -> str:
        """Move an endpoint to a configuration as ``deployment``, a DeploymentConfig, says. Return why it failed, or ""."""
        now = moto_state.endpoint(region, name)
        assert now is not None

        def alarmed(names: tuple[str, ...]) -> list[str]:
            self._evaluate_alarms(region)
            return alarms.on(region, names)

        with moto_state.updating(region, name, config) as taken:
            wanted, weights = moto_state.configured(region, name, config), moto_state.first_weights(region, config)
            how = shift(deployment, _instances(region, config))
            return self._endpoints.of(now).update(wanted, weights, how, alarmed, taken)

    def _evaluate_alarms(self, region: str) -> None:
        for where, lines in self._functions.new_lines():
            alarms.record_lines(where, lines)
        alarms.evaluate(region)

    def follow(self) -> None:
        """Stop functions and endpoints that are no longer deployed, and load the deployed endpoints."""
        with self._following:
            endpoints = list(moto_state.endpoints())
            self._functions.keep_only(moto_state.functions())
            self._endpoints.keep_only({endpoint.name for endpoint in endpoints})
            for endpoint in endpoints:
                self._endpoints.of(endpoint)

    def stop(self) -> None:
        self._functions.keep_only(set())
        self._endpoints.keep_only(set())


def _failing(request: Request, error: Exception) -> Response:
    """Return an error that clients can read, for a request that moto does not know or fails in."""
    code = "NotImplemented"
    message = f"the stand-in for AWS lacks this, or failed in it: {type(error).__name__}: {error}"
    body, kind = json.dumps({"__type": code, "message": message}), "application/json"
    if request.mimetype == "application/x-www-form-urlencoded":
        text, kind = escape(message), "text/xml"
        body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{text}</Message></Error></ErrorResponse>"
    # Clients don't repeat a request after 501.
    return Response(body, 501, {"x-amzn-ErrorType": code}, content_type=kind)


def _instances(region: str, config: str) -> int:
    """Return the number of instances of the smallest variant."""
    return min(int(one.get("InitialInstanceCount", 1)) for one in moto_state.variants(region, config))


def _is_open(connection: socket.socket) -> bool:
    """Return whether the client, whose request has been read, still waits for the answer."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@scratch_folder()
def main(kind: type[Front] = Front) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    logging.getLogger("moto").setLevel(logging.CRITICAL)  # otherwise it prints every execution that fails
    key = secrets.token_hex(16)
    # moto sends requests to itself, SAM's translator needs a region, and no request of this process may leave the machine.
    region = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
    os.environ |= {"AWS_DEFAULT_REGION": region, **LOOPBACK, **credentials(key)}
    # Until the front is ready it would answer 503, but no client knows the address before.
    server = make_server("127.0.0.1", 0, Response(status=503), threaded=True, request_handler=Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    os.environ["AWS_ENDPOINT_URL"] = address
    front = kind(address, key)
    moto_patches.apply(front.update_endpoint, front.follow)
    server.app = front
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it and closes the standard input
    try:
        print(address, key, flush=True)
        while "--keep" in sys.argv:
            signal.pause()  # until SIGTERM
        while os.read(0, 1024):
            pass
    finally:
        server.shutdown()
        front.stop()


if __name__ == "__main__":
    main()
