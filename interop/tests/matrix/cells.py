"""The cells of the matrix: who opens a session, who is in it, through whose node, and how the session is made.

This is data. What is done in a cell is in `life.py`; a cell that does not get through its life says here at which
step it ends and what is seen there, and its test checks that this is so.
"""

import dataclasses
import itertools

from peers import OURS, UPSTREAM, V041, V101, V141, V220

GROUP = "group"
PAIR = "point_to_point"


@dataclasses.dataclass(frozen=True)
class Failure:
    """What is known not to work."""

    step: str
    # A regular expression for the error.
    observed: str
    # For the page: what is seen, and why.
    reason: str


@dataclasses.dataclass(frozen=True)
class Cell:
    kind: str
    # The moderator of a group or the initiator of a pair, then the others.
    first: str
    others: tuple[str, ...]
    node: str
    mls: bool
    reliable: bool
    # SLIM_IDENTITY_BINDING of the applications of 3.3.8.
    binding: str = "warn"
    # What the proxy loses in the cell: only data messages, or every kind from the start.
    loses: str = "data"
    # One that continuous integration runs.
    sample: bool = False
    failure: Failure | None = None

    @property
    def is_lossy(self) -> bool:
        """Encrypted publications of 1.4.1 and 1.0.1 end with "message send retries exhausted" once the proxy loses 5 %;
        the wire of 0.4 the proxy does not read."""
        return self.first != V041 and not (self.first in (V141, V101) and self.mls)

    @property
    def survives_kills(self) -> bool:
        """A moderator of 1.4.1 or 1.0.1 is not rid of a member that died: its next publication is never answered."""
        return self.first not in (V141, V101)

    @property
    def row(self) -> str:
        """Cells of one row differ in encryption and acknowledgements only."""
        who = f"{self.first}+{'+'.join(self.others)}"
        parts = [self.kind, who, f"node={self.node}"]
        if self.binding != "warn":
            parts.append(f"binding={self.binding}")
        if self.loses != "data":
            parts.append(f"loses={self.loses}")
        return " ".join(parts)

    @property
    def column(self) -> str:
        return ("MLS" if self.mls else "plain") + (" reliable" if self.reliable else " unreliable")

    @property
    def id(self) -> str:
        return f"{self.row} {self.column}"


# Encrypted or not × acknowledged or not, in the order of the table's columns.
MODES = list(itertools.product([True, False], repeat=2))
COLUMNS = [Cell(GROUP, "", (), "", *mode).column for mode in MODES]

NODES = [OURS, UPSTREAM]
MEMBERSHIPS = [
    (OURS, OURS),
    (UPSTREAM, UPSTREAM),
    # With the moderator a group of five.
    (OURS, UPSTREAM, OURS, UPSTREAM),
]


def row(number: int, kind: str, first: str, others: tuple[str, ...], node: str, modes=MODES, **more) -> list[Cell]:
    """The cells of one row; continuous integration takes another mode in each row, and in each pair of rows that
    differ in the node only."""
    sample = (number + number // 2) % len(modes)
    return [
        Cell(kind, first, others, node, *mode, sample=position == sample, **more) for position, mode in enumerate(modes)
    ]


def rows() -> list[list[Cell]]:
    number = itertools.count()
    found = []
    for first, others, node in itertools.product([OURS, UPSTREAM], MEMBERSHIPS, NODES):
        found.append(row(next(number), GROUP, first, others, node))
    for first, other, node in itertools.product([OURS, UPSTREAM], [OURS, UPSTREAM], NODES):
        found.append(row(next(number), PAIR, first, (other,), node))
    secure = [(True, True)]
    # Members of 3.3.8 that refuse senders whose keys are not bound to their identities.
    for first, node in itertools.product([OURS, UPSTREAM], NODES):
        found.append(row(0, GROUP, first, (UPSTREAM, OURS), node, secure, binding="enforce"))
    for first, other in [(OURS, UPSTREAM), (UPSTREAM, OURS)]:
        found.append(row(0, PAIR, first, (other,), OURS, secure, binding="enforce"))
    reliable = [(True, True), (False, True)]
    # The same wire from an earlier release.
    for node in NODES:
        found.append(row(next(number), GROUP, UPSTREAM, (V220, UPSTREAM), node, reliable))
    # The wire of 1.x, with negotiation (1.4.1) and without, and that of 0.4: only our node serves them beside today's.
    for first, others in [(V141, (V141, V141)), (V101, (V101, V101)), (V141, (V101, V141)), (V101, (V141, V101))]:
        found.append(row(next(number), GROUP, first, others, OURS, reliable))
    for first, other in [(V141, V101), (V101, V141)]:
        found.append(row(next(number), PAIR, first, (other,), OURS, reliable))
    found.append(row(next(number), GROUP, V041, (V041, V041), OURS, reliable))
    # Upstream does not survive the loss of a control message (wire-session §9.1 R1); ours do.
    for node in NODES:
        found.append(row(0, GROUP, OURS, (OURS, OURS), node, reliable, loses="all"))
        found.append(row(1, PAIR, OURS, (OURS,), node, reliable, loses="all"))
    return found


CELLS = [cell for cells in rows() for cell in cells]
