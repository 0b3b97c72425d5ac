"""A Ray cluster on this machine, and the manifests for others: started, used, broken and stopped for real."""

from ray_clusters import kill

from stages.cluster.local import Running


def test_a_killed_node_is_gone_and_the_others_stay(cluster: Running) -> None:
    kill(cluster, 1)
    head, other = cluster.nodes()
    assert head is not None
    assert head.is_running()
    assert other is None
    assert cluster.is_alive()
