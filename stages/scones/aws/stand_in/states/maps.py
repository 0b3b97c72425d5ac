"""Patch moto's distributed maps: they read all objects below a prefix, and write their results."""

import json
from functools import partial
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from stages.scones.aws.stand_in.extending import patch


def apply() -> None:
    """Apply the patches of this module. `grammar` has to be read before."""
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval import (
        resource_eval_s3 as reading,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer.resource_eval import (
        resource_eval_s3 as writing,
    )

    patch(writing.ResourceEvalS3, "_handle_put_object", _with_results)
    reader = reading.ResourceEvalS3
    reader._handle_list_objects_v2 = staticmethod(partial(_list_all, reader._get_s3_client))


def _list_all(client: Any, env: Any, *about: Any, **named: Any) -> None:
    """List all objects for a distributed map, also if there are none. moto reads the first thousand, and fails without any."""
    pages = client(*about, **named).get_paginator("list_objects_v2").paginate(**env.stack.pop())
    env.stack.append(pages.build_full_result().get("Contents", []))


def _with_results(writing: Any, env: Any, *arguments: Any, **named: Any) -> None:
    """Write the results of a distributed map to S3. moto writes only an empty manifest."""
    results = env.stack[-2]
    writing(env, *arguments, **named)
    location = env.stack[-1]["ResultWriterDetails"]
    storage = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    key = f"{location['Key'].rpartition('/')[0]}/SUCCEEDED_0.json"
    content = json.dumps([{"Output": json.dumps(one), "Status": "SUCCEEDED"} for one in results]).encode()
    storage.put_object(location["Bucket"], key, content)
    manifest = json.loads(storage.get_object(location["Bucket"], location["Key"]).value)
    manifest["ResultFiles"]["SUCCEEDED"] = [{"Key": key, "Size": len(content)}]
    storage.put_object(location["Bucket"], location["Key"], json.dumps(manifest).encode())
