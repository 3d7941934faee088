"""`python -m bench.policies`."""

from bench.policies.command import policies

policies(prog_name="python -m bench.policies")
