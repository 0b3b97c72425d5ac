"""List and delete the objects of buckets, with all their versions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import ClientError

from stages.common.errors import InputError
from stages.engine.aws.clients import client


def keys(session: boto3.Session, bucket: str, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield the objects under ``prefix``, as S3 lists them."""
    for page in client(session, "s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", [])


def delete(session: boto3.Session, bucket: str, objects: Sequence[Mapping[str, str]]) -> None:
    """Delete these objects, each a `Key`, and a `VersionId` or not. Raise InputError with the first that S3 does not delete."""
    for start in range(0, len(objects), 1000):  # at most a thousand per request
        chosen = {"Objects": list(objects[start : start + 1000]), "Quiet": True}
        refused = client(session, "s3").delete_objects(Bucket=bucket, Delete=chosen).get("Errors", [])
        if refused:
            first = refused[0]
            raise InputError(f"s3://{bucket}/{first['Key']} was not deleted: {first['Code']}: {first['Message']}")


@contextmanager
def _if_it_exists() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchBucket", "404"):
            raise


def empty(session: boto3.Session, bucket: str) -> int:
    """Delete all objects of ``bucket`` and their versions. Return the number of both, 0 if there is no such bucket."""
    pages = client(session, "s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    found: list[dict[str, str]] = []
    with _if_it_exists():
        found = [one for page in pages for kind in ("Versions", "DeleteMarkers") for one in page.get(kind, [])]
    delete(session, bucket, [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found])
    return len(found)


def remove_bucket(session: boto3.Session, bucket: str) -> None:
    """Remove an empty bucket if it exists, with objects that were written to it meanwhile."""
    with _if_it_exists():
        empty(session, bucket)
        client(session, "s3").delete_bucket(Bucket=bucket)
