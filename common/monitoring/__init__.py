"""How a site and a coordinator are watched: checks with an exit status, and metrics for Prometheus.

check_result   one thing that was looked at, and the exit status of all
metric_page    samples as Prometheus reads them, on loopback
disk_space     whether there is room
"""
