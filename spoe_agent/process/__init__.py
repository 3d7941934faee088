"""The agent as a process of this machine: its addresses, its successor, its service manager.

Must not live here: who serves on the addresses (service), decisions.
"""
