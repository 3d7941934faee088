"""`pointsman up`: the whole fleet in the foreground of one terminal.

Must not live here: choosing, rendering; anything that a service manager does where there is one.
"""
