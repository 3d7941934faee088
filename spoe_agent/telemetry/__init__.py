"""What is known of the live fleet: readings come in by I/O, a frozen Snapshot goes out.

Must not live here: decisions, SPOP.
"""
