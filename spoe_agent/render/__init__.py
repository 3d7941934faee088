"""`pointsman render`: other programs' files from the fleet file: units of systemd, a compose file, environments.

Must not live here: HAProxy's own configuration (haproxy), anything that runs what is written.
"""
