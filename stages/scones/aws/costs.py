"""What it costs to keep an endpoint: rough figures, since prices differ between regions and change. AWS's list is what counts."""

DATE = "2025"
REGION = "us-east-1"
HOURLY = {  # US dollars for an instance of real-time inference on demand, about
    "ml.t2.medium": 0.056,
    "ml.t2.large": 0.111,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.c5.large": 0.102,
    "ml.c5.xlarge": 0.204,
    "ml.g4dn.xlarge": 0.736,
}


def estimate(instance_type: str, instances: int, region: str) -> str:
    """A sentence about an endpoint of so many instances. The rest (functions, buckets, log) costs cents at this size."""
    count = f"{instances} x {instance_type}"
    if instance_type not in HOURLY:
        return f"{count} are charged by the hour, see https://aws.amazon.com/sagemaker/pricing (no price is known here)"
    hour = instances * HOURLY[instance_type]
    where = "" if region == REGION else f"; {region} may differ"
    return f"{count}: about {hour:.2f} USD an hour, {24 * 30 * hour:.0f} USD in 30 days (an estimate: {REGION}, {DATE}{where})"
