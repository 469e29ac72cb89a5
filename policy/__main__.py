"""The policy pack as Pulumi's engine runs it (`--policy-pack policy`): an adapter, the rules are in `rules/`."""

import sys
from pathlib import Path

# The engine starts a pack by its folder: its modules would then be top-level, like the standard library's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policy.analyzer import serve
from slipway.process import collect_garbage_rarely

collect_garbage_rarely()
serve()
