"""`pointsman replay`: recorded requests on a simulated fleet, in virtual time.

Must not live here: the simulation itself (simulator.virtual), the decision log's file (decisions).
"""
