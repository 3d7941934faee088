"""`pointsman init`: what this machine has, written down as a first fleet file.

Must not live here: what is right or wrong with a fleet file (fleet, surroundings).
"""
