"""Spans of decisions, sent to a collector of OpenTelemetry.

Must not live here: what is in a span (agent.spans).
"""
