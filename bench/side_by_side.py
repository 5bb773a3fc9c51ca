"""Product and reference in turns: A B A B."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from bench.build import Programs
from bench.model import NotMeasuredError, Pair, Record, Run, Side, Workload
from bench.product import Product


@dataclass(frozen=True)
class Bench:
    """Both sides, how long to measure, and all that was measured so far."""

    product: Product
    floor: Side
    programs: Programs
    quick: bool
    records: list[Record] = field(default_factory=list)

    @property
    def turns(self) -> int:
        """Pairs that a verdict is the median of."""
        return 1 if self.quick else 3

    @property
    def seconds(self) -> int:
        """Length of one run."""
        return 2 if self.quick else 5

    def alternate(self, workload: Workload, turns: int | None = None) -> tuple[list[Pair], str]:
        """Pairs of a product's and a floor's run; and why some are missing."""

        def one_turn() -> Pair:
            ours = self.run(self.product, workload)
            return Pair(ours, self.run(self.floor, replace(workload, hot_set=False)))

        return _repeat(one_turn, turns or self.turns)

    def against_unprotected(self, workload: Workload, turns: int | None = None) -> tuple[list[Pair], str]:
        """The same guest before and after `enter`; and why some pairs are missing."""

        def one_turn() -> Pair:
            pair = self.product.run_against_unprotected(workload)
            self.record("product", workload, pair.product)
            self.record("product", replace(workload, rate=None), pair.reference)
            return pair

        return _repeat(one_turn, turns or self.turns)

    def bitmap_against_ring(self, ring: Workload) -> tuple[list[Pair], str]:
        """The product with each tracker at its best; and why a pair is missing."""
        bitmap = replace(ring, tracker="bitmap", hot_set=True)

        def one_turn() -> Pair:
            return Pair(self.run(self.product, bitmap), self.run(self.product, ring))

        return _repeat(one_turn, 1)

    def run(self, side: Side, workload: Workload) -> Run:
        """One recorded run. Raises NotMeasuredError."""
        run = side.run(workload)
        self.record(side.name, workload, run)
        return run

    def record(self, side: str, workload: Workload, run: Run) -> None:
        """Keeps a run for the JSON."""
        self.records.append(Record(side, asdict(workload), asdict(run)))

    def keep(self, side: str, what: str, **gave: object) -> None:
        """Keeps another measurement for the JSON."""
        self.records.append(Record(side, {"what": what}, gave))


def _repeat(one_turn: Callable[[], Pair], turns: int) -> tuple[list[Pair], str]:
    pairs: list[Pair] = []
    missing = ""
    for _ in range(turns):
        try:
            pairs.append(one_turn())
        except NotMeasuredError as error:
            missing = str(error)
    return pairs, missing
