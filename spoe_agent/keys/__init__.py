"""Keys: who may come, and with which rights. The file of their hashes, and what front ends are told of each.

Must not live here: what HAProxy is told, and how (haproxy); what operators type (admin).
"""
