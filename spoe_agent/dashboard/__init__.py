"""What people watch of a running agent, in a browser or with `pointsman top`: one scene, made anew each second while
anybody watches.
"""
