"""`python -m spoe_agent` is `pointsman`."""

from spoe_agent.cli import main

main(prog_name="pointsman")
