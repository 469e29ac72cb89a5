"""What all tests need of the process that runs them."""

from __future__ import annotations

import signal

# A background job of a shell without job control, as on a build server, has Ctrl-C ignored, and so would have every
# program that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
