"""Deploy the workflow with the exported model, execute test cases, and check each execution and each captured request.

With `deploy.target: local`, a process on this machine stands in for AWS and ends afterwards; 100 executions take 25 s
of one core. With `aws`, the workflow is deployed to the account of the usual AWS credentials, after a question, and
stays until `destroy`. Files, template and checks are the same. With `deploy.scones.version` set, deploy that release
and compare it with its own evaluation. A second run changes only what differs.
"""

import argparse
import os
import shlex
import signal
import time
from pathlib import Path

import boto3

from stages.common import clocks, config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.engine.aws.clients import account, agree, plain_errors
from stages.scones.aws import deployment, evaluated, own, preflight, trial
from stages.scones.aws.executions import cases, latency
from stages.scones.aws.preflight import COMMAND
from stages.scones.aws.stand_in import local
from stages.scones.config import WorkflowSettings, workflow_settings

REPORT = Path("reports/scones/deploy.json")
CAPTURED = Path("reports/scones/captured")

REGION = "us-east-1"
"""Of the stand-in, unless deploy.scones.region is set."""


def deploy_and_test(session: boto3.Session, settings: WorkflowSettings, test: evaluated.Test) -> None:
    """Deploy, execute, compare, and write the reports."""
    its_own = own.read(files.home() / Path(settings.workflow).expanduser()) if settings.workflow else None
    begin = time.perf_counter()
    deployed = deployment.deploy(session, test.archive, test.pictures, settings, test.training)
    arn, done_beside = own.deploy(session, deployed, its_own, settings) if its_own else (deployed.workflow, [])
    deploying = time.perf_counter() - begin
    print("\n".join(deployed.done + done_beside))
    chosen = cases(sorted(test.pictures), settings.executions, settings.seed)
    done = trial.run(session, deployed, chosen, settings.concurrency, arn, settings.captures)
    found: dict[str, int] = {}
    if its_own:
        if settings.captures:
            found = evaluated.as_evaluated(done, test)
    elif settings.captures:
        trial.check(done, test.pictures, settings.threshold)
        elsewhere = trial.answers(done, test.pictures, deployment.CHALLENGER)
        evaluated.compare(trial.answers(done, test.pictures, deployment.MODEL), set(chosen) - elsewhere.keys(), test)
    else:
        passed = trial.passed(done)
        evaluated.compare(passed, passed.keys(), test)
    report = {"version": settings.version, "data": test.source, **evaluated.measure(done, test, bool(its_own)), **found}
    with files.new_folder(CAPTURED) as folder:
        for key, text in done.captured.items():
            (folder / key.rsplit("/", 1)[1]).write_text(text, encoding="utf-8")
    files.write_json(REPORT, report)
    speed = {
        "deploy_s": round(deploying, 3),
        "first_execution_s": round(done.outcomes[0].seconds, 3),
        "executions_per_second": round((len(done.outcomes) - 1) / done.seconds, 3) if len(done.outcomes) > 1 else 0.0,
        "execution_s": latency(done.outcomes[1:] or done.outcomes),
    }
    clocks.write("deploy@scones", test.archive.parent, speed)
    counts = f"{report['executions']} executions: {report['succeeded']} succeeded"
    if its_own:
        print(f"{counts}; failures: {report['failures'] or 'none'}")
        return
    checked = "each matches its confidence and has one captured record" if settings.captures else "not each is captured"
    print(
        f"{counts}, {report['below_threshold']} were below the threshold {settings.threshold:g}, "
        f"{report['unknown']} had an unknown picture; {checked}"
    )


def target() -> str:
    """Return deploy.target: local or aws."""
    found = config.read().get("deploy", {}).get("target")
    if found not in ("local", "aws"):
        raise InputError(f"{config.PARAMETERS}: deploy.target = {found!r} is not allowed: expected local or aws")
    return str(found)


def keep_on_this_machine(settings: WorkflowSettings, test: evaluated.Test) -> None:
    """Deploy on a stand-in that stays, and print how to use and how to stop it."""
    found, process = local.keep(settings.region or REGION)
    try:
        deploy_and_test(boto3.Session(), settings, test)
    except BaseException:
        os.kill(process, signal.SIGTERM)
        raise
    print("\nThe stand-in for AWS keeps running. Commands find it with these settings:\n")
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in found.items()))
    print(
        f"\nWith them, `{COMMAND} --yes` and -S deploy.target=aws update what is deployed. `kill {process}` stops it: all of it is then gone."
    )
    print("\nNot simulated:\n" + "\n".join(f"- {line}" for line in local.NOT_SIMULATED))


def on_aws(settings: WorkflowSettings, action: str, yes: bool, keep_data: bool, endpoint_only: bool) -> None:
    session = account(settings.region, "deploy.scones.region")
    if action == "deploy":
        with evaluated.opened(settings) as test:
            agree(preflight.plan(settings, session.region_name), yes, COMMAND)
            deploy_and_test(session, settings, test)
    elif endpoint_only:
        words = f"This removes the endpoint of the stack {settings.stack} and its models."
        agree(words, yes, f"{COMMAND} destroy --endpoint-only")
        print(deployment.destroy_endpoint(session, settings))
    else:
        agree(preflight.losses(session, settings, keep_data), yes, f"{COMMAND} destroy")
        removed = deployment.destroy(session, settings, keep_data)
        print("\n".join(f"removed: {line}" for line in removed) or "there was nothing to remove")


@plain_errors()
def main(
    action: str = "deploy",
    yes: bool = False,
    keep: bool = False,
    check: bool = False,
    keep_data: bool = False,
    endpoint_only: bool = False,
) -> None:
    settings = workflow_settings()
    if action == "destroy" and (keep or check):
        raise InputError("--keep and --check belong to deploy")
    if action == "deploy" and (keep_data or endpoint_only):
        raise InputError("--keep-data and --endpoint-only belong to destroy")
    if keep_data and endpoint_only:
        raise InputError("--endpoint-only keeps all data: leave --keep-data out")
    if check:
        preflight.main(account(settings.region, "deploy.scones.region"), settings)
    # Local deployments do not persist, so destroy always refers to AWS, whatever the current target.
    elif action == "destroy" or (target() == "aws" and not keep):
        on_aws(settings, action, yes, keep_data, endpoint_only)
    else:
        with evaluated.opened(settings) as test:
            if keep:
                keep_on_this_machine(settings, test)
            else:
                with local.stand_in(settings.region or REGION) as session:
                    deploy_and_test(session, settings, test)
                    deployment.destroy(session, settings)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="deploy", choices=["deploy", "destroy"])
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument(
        "--keep", action="store_true", help="deploy on a stand-in for AWS on this machine, and leave it running"
    )
    parser.add_argument(
        "--check", action="store_true", help="create nothing: check image, quota, permissions, region and price"
    )
    parser.add_argument("--keep-data", action="store_true", help="destroy: leave pictures and captured requests")
    parser.add_argument("--endpoint-only", action="store_true", help="destroy: only the endpoint, which costs most")


if __name__ == "__main__":
    run(main, arguments)
