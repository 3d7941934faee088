"""Thousands of held requests through real HAProxy: are they served, in the stated order, and what does it cost?

`rule` says who should be next (written from the documentation, not from the queue); `rig` starts simulated Ollamas,
agent and HAProxy and reads their counts; `clients` are the callers; `scenes` are the measurements; `report` prints.
Run it: python -m bench.held. Must not live here: anything that decides.
"""
