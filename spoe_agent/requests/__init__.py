"""What both front ends read from a request, by the same rules: its model, whose it is, and whether it may come at all.

Must not live here: decisions (routing), and anything of HAProxy's or mitmproxy's own.
"""
