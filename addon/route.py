"""What `mitmdump -s addon/route.py` loads in a checkout: the hooks of this very tree.

Nothing but the hooks must be named here: mitmproxy takes every function of a script for the hook of that name.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from spoe_agent.mitmproxy.hooks import Pointsman

addons = [Pointsman()]
