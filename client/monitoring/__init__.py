"""How a site is watched: `python -m client health` and `python -m client metrics`.

commands              both commands
site_health        what is looked at
site_samples       what Prometheus reads
"""
