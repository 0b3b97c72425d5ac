"""stages/cluster's files for AWS and Kubernetes: what Ray's own checks, the linter and the operator's field names say of them."""

import re
import subprocess
from importlib import metadata
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import ROOT, Change
from ray.autoscaler._private.util import prepare_config, validate_config

from stages import check

FOLDER = ROOT / "stages/cluster"

# https://ray-project.github.io/kuberay/reference/api/: what this manifest may use of each.
JOB = {"entrypoint", "submissionMode", "activeDeadlineSeconds", "backoffLimit", "shutdownAfterJobFinishes"}
JOB |= {"ttlSecondsAfterFinished", "rayClusterSpec"}
CLUSTER = {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
HEAD = {"serviceType", "rayStartParams", "template"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def aws() -> Any:
    return yaml.safe_load((FOLDER / "aws.yaml").read_text())


class Loader(yaml.SafeLoader):
    """With CloudFormation's tags, of which the value is kept."""


Loader.add_multi_constructor("!", lambda loader, _, node: loader.construct_scalar(node))


def base() -> Any:
    return yaml.load((FOLDER / "aws-base.yaml").read_text(), Loader)["Resources"]


def kubernetes() -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())}


def test_the_aws_cluster_matches_rays_schema() -> None:
    validate_config(prepare_config(aws()))
    broken = aws()
    broken["head_node"] = broken.pop("head_node_type")
    with pytest.raises(jsonschema.ValidationError, match="head_node"):
        validate_config(prepare_config(broken))


def test_aws_workers_are_autoscaled_spot_instances() -> None:
    config = aws()
    worker = config["available_node_types"]["worker"]
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert worker["min_workers"] == 0
    assert worker["max_workers"] <= config["max_workers"]
    assert config["provider"]["cache_stopped_nodes"] is False
    assert "InstanceMarketOptions" not in config["available_node_types"]["head"]["node_config"]


def test_the_aws_cluster_uses_the_base_stacks_resources_and_names_no_account() -> None:
    config, resources = aws(), base()
    name = config["cluster_name"]
    assert config["provider"]["security_group"]["GroupName"] == f"ray-{name}"
    assert resources["Nodes"]["Properties"]["GroupName"] == "ray-${ClusterName}"
    for role, profile in (("head", "HeadProfile"), ("worker", "WorkerProfile")):
        node = config["available_node_types"][role]["node_config"]
        assert node["IamInstanceProfile"] == {"Name": f"ray-{name}-{role}"}
        assert node["MetadataOptions"] == {"HttpTokens": "required"}
        assert resources[profile]["Properties"]["InstanceProfileName"] == role.title()
    for file in ("aws.yaml", "aws-base.yaml", "kubernetes.yaml"):
        assert not re.search(r"\b\d{12}\b|\b(ami|subnet|sg)-[0-9a-f]{8}", (FOLDER / file).read_text()), file


def test_the_security_group_allows_only_ssh_from_given_addresses() -> None:
    assert "--include-dashboard=false" in aws()["head_start_ray_commands"][-1]
    resources = base()
    (ssh,) = resources["Nodes"]["Properties"]["SecurityGroupIngress"]
    assert (ssh["FromPort"], ssh["ToPort"], ssh["CidrIp"]) == (22, 22, "SshFrom")
    assert resources["AmongThemselves"]["Properties"]["SourceSecurityGroupId"] == "Nodes"


def test_the_roles_have_only_the_needed_permissions() -> None:
    resources = base()
    statements = [
        statement
        for resource in resources.values()
        for policy in [resource["Properties"], *resource["Properties"].get("Policies", [])]
        for statement in policy.get("PolicyDocument", {}).get("Statement", [])
    ]
    actions = [[one["Action"]] if isinstance(one["Action"], str) else one["Action"] for one in statements]
    assert {action for some in actions for action in some} == {
        *(f"s3:{one}" for one in ("GetObject", "PutObject", "DeleteObject", "ListBucket")),
        *("ssm:GetParameters", "iam:PassRole", "ec2:DescribeInstances", "ec2:DescribeInstanceStatus"),
        *(f"ec2:{one}" for one in ("RunInstances", "CreateTags", "TerminateInstances")),
    }
    for one, some in zip(statements, actions, strict=True):
        if one["Resource"] == "*":
            assert all(action.startswith("ec2:Describe") for action in some)
    ends = [one for one in statements if "ec2:TerminateInstances" in one["Action"]]
    assert all("aws:ResourceTag/ray-cluster-name" in one["Condition"]["StringEquals"] for one in ends)


def test_cfn_lint_accepts_the_base_template() -> None:
    done = subprocess.run(["cfn-lint", FOLDER / "aws-base.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_job_has_the_operators_fields_and_this_version_of_ray() -> None:
    job = kubernetes()["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    assert set(job["spec"]) <= JOB
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) == CLUSTER
    assert set(cluster["headGroupSpec"]) <= HEAD
    assert all(set(group) <= WORKERS for group in cluster["workerGroupSpecs"])
    assert cluster["rayVersion"] == metadata.version("ray")
    assert all(isinstance(value, str) for value in cluster["headGroupSpec"]["rayStartParams"].values())
    places = sum(group["maxReplicas"] for group in cluster["workerGroupSpecs"])
    assert f"engine.workers={places} " in job["spec"]["entrypoint"]


def test_pods_are_unprivileged_and_have_resource_limits() -> None:
    documents = kubernetes()
    cluster = documents["RayJob"]["spec"]["rayClusterSpec"]
    for template in (group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])):
        pod = template["spec"]
        assert template["metadata"]["labels"] == documents["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"]
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            guarded = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert container["securityContext"] == guarded
            assert set(container["resources"]) == {"requests", "limits"}
            assert {mount["name"] for mount in container["volumeMounts"]} <= {one["name"] for one in pod["volumes"]}
        claims = [one["persistentVolumeClaim"] for one in pod["volumes"] if "persistentVolumeClaim" in one]
        name = documents["PersistentVolumeClaim"]["metadata"]["name"]
        assert [claim["claimName"] for claim in claims] == [name]


@pytest.mark.parametrize("file", ["aws.yaml", "kubernetes.yaml"])
def test_the_parameters_that_it_sets_are_valid(file: str, change: Change) -> None:
    """Those of the engine that its command names, tried where they are read."""
    text = (FOLDER / file).read_text()
    given = dict(re.findall(r"-S engine\.(\w+)=(\S+)", text))
    assert {"kind", "address", "workers", "cpus_per_worker"} <= set(given)
    change({f"engine.{name}": yaml.safe_load(value) for name, value in given.items()})
    address = re.sub(r"^\$\w+(:6379)?$", "10.0.0.1:6379", given["address"])
    change({"engine.address": address, "engine.kind": "local"})
    check.main()
