"""What `mitmdump -s "$(pointsman addon)"` loads.

Nothing but the hooks must be named here: mitmproxy takes every function of a script for the hook of that name.
"""

from spoe_agent.mitmproxy.hooks import Pointsman

addons = [Pointsman()]
