"""How a coordinator is watched: `python -m server health` and `python -m server metrics`.

commands              both commands
coordinator_health    what is looked at
coordinator_samples   what Prometheus reads
"""
