"""boto3 clients with a time limit and a rule for retries."""

from typing import Any

import boto3
from botocore.config import Config

LIMITS = Config(
    connect_timeout=5,  # seconds
    read_timeout=65,  # an endpoint has 60 for its answer
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=50,
)


def client(session: boto3.Session, service: str) -> Any:
    """A client of ``service`` in the session's region."""
    return session.client(service, config=LIMITS)
