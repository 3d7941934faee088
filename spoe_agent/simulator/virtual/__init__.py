"""A fleet of simulated Ollamas on one virtual clock, with a front and whoever routes in it, the agent among them.

Must not live here: traffic, policies of the field, figures (bench.policies).
"""
