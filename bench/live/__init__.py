"""The benchmark over sockets: simulated instances in processes, real nginx and HAProxy, the real agent.

It shows that the discrete-event figures hold outside the model. Must not live here: policies, workloads, statistics;
they are those of the discrete-event benchmark.
"""
