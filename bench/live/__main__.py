"""`python -m bench.live`."""

from bench.live.command import live

live(prog_name="python -m bench.live")
