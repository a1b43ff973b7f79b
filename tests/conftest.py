"""What holds for all tests."""

import signal

# A shell that starts the tests in the background has Ctrl-C ignored, and children inherit that: tests that send SIGINT
# would then test nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
