"""Reading the whole memory of another process, as a debugger would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

#: Bytes read at a time; pieces overlap by the length of what is searched for.
PIECE = 16 * 1024 * 1024


def is_readable(pid: int) -> bool:
    """Whether this machine lets us read the memory of our own child."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            start = next(regions(pid))[0]
            memory.seek(start)
            return len(memory.read(1)) == 1
    except (OSError, StopIteration):
        return False


def regions(pid: int) -> Iterator[tuple[int, int]]:
    """Start and end of everything that is mapped readable."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, permissions, *_ = line.split()
        # Pages of the kernel that look like memory of the process cannot be read this way.
        if permissions.startswith("r") and not line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
            start, end = (int(address, 16) for address in addresses.split("-"))
            yield start, end


def found(pid: int, *needles: bytes) -> set[bytes]:
    """Which of these are in the memory of the process, freed memory that was not overwritten included."""
    there: set[bytes] = set()
    overlap = max(len(needle) for needle in needles) - 1
    total = 0
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end in regions(pid):
            at, tail = start, b""
            while at < end:
                try:
                    memory.seek(at)
                    piece = memory.read(min(PIECE, end - at))
                except OSError:
                    # Unmapped meanwhile, or a guard page.
                    break
                if not piece:
                    break
                window = tail + piece
                there.update(needle for needle in needles if needle in window)
                tail = window[-overlap:]
                at += len(piece)
                total += len(piece)
    assert total > 1024 * 1024, "this is not the memory of a running process"
    return there
