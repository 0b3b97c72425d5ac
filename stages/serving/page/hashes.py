"""The content security policy of the page's HTML: it allows only the page's own inline scripts, by their hashes."""

import base64
import hashlib
import re

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from stages.serving.page import CONTENT_SECURITY_POLICY

SCRIPT = re.compile(rb"<script[^>]*>(.*?)</script>", re.DOTALL)


class Hashes:
    """Collects an HTML response and sends it with its policy. The scripts contain the page's configuration, so hashes vary."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.start: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.body += message.get("body", b"")
        if message.get("more_body") or self.start is None:
            return
        hashes = {
            base64.b64encode(hashlib.sha256(script).digest()).decode() for script in SCRIPT.findall(self.body) if script
        }
        allowed = " ".join(f"'sha256-{one}'" for one in sorted(hashes))
        policy = CONTENT_SECURITY_POLICY.replace("script-src 'self' 'unsafe-inline'", f"script-src 'self' {allowed}")
        MutableHeaders(scope=self.start)["Content-Security-Policy"] = policy
        await self.send(self.start)
        await self.send({"type": "http.response.body", "body": self.body})
