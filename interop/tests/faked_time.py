"""A clock that runs fast, for every process that is given it: Debian's `faketime`.

All processes share one beginning, so that they agree about the time to a fraction of a second. Wall clock, monotonic
clock and every wait run by the factor; nothing inside the processes knows. The node does without: it looks at no token.
"""

import os
import shutil
import subprocess
import threading

import pytest

NEEDED = "faketime is not installed (apt-get install faketime), so hours cannot pass in seconds"


class FastClock:
    """The shared clock lives as long as a process of the `faketime` program."""

    def __init__(self, factor: int) -> None:
        if shutil.which("faketime") is None:
            pytest.skip(NEEDED)
        self.factor = factor
        self.keeper = subprocess.Popen(
            ["faketime", "-f", f"+0 x{factor}", "sh", "-c", "env; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # What the program gives its child makes any other process a child of the same clock.
        self.environment: dict[str, str] = {}
        while len(self.environment) < 3:
            line = self.keeper.stdout.readline()
            assert line, "faketime ended"
            key, _, value = line.rstrip("\n").partition("=")
            if key in ("FAKETIME", "FAKETIME_SHARED", "LD_PRELOAD"):
                self.environment[key] = value
        self.start = self._now()

    def _now(self) -> float:
        shown = subprocess.run(
            ["date", "+%s.%N"], env={**os.environ, **self.environment}, capture_output=True, text=True, check=True
        )
        return float(shown.stdout)

    def minutes(self) -> float:
        """Since the clock was made, in its own time."""
        return (self._now() - self.start) / 60

    def wait_until(self, minutes: float) -> None:
        while (left := minutes - self.minutes()) > 0:
            # Nothing happens at that time but the time itself.
            threading.Event().wait(left * 60 / self.factor)

    def stop(self) -> None:
        self.keeper.stdin.close()
        self.keeper.wait()


@pytest.fixture
def clock():
    clock = FastClock(60)
    yield clock
    clock.stop()
