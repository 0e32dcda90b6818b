"""What all tests share."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.tally"]

# Machines of every speed run these tests: a slow example is no failure. The same examples each time.
settings.register_profile("consilium", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("consilium")
