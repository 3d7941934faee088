"""The heart of every front end: what is decided, who waits, and the account of what was granted.

Must not live here: sockets, HTTP, HAProxy, the decision itself (routing); of I/O only the state file.
"""
