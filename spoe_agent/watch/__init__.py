"""Joins what is seen of the instances (polls, log lines, stalls, probes, GPUs) and says who is believed in.

Must not live here: states and their rules (telemetry.health), decisions.
"""
