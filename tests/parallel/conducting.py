"""What torchrun starts in a test: rank 0 has trainings done, as a sweep does, and the others take part."""

import sys
from pathlib import Path

from moedocs.lab import workers
from moedocs.lab.large import Work, conducted, large_store
from moedocs.parallel import joined
from tests.parallel.training_worker import RUNS, too_fast

NAMED = {"experts": RUNS["experts"], "wild": too_fast(RUNS["experts"])}

if __name__ == "__main__":
    store = large_store(Path(sys.argv[1]))

    def lead(work: Work) -> str:
        return str(workers.trained(work, "a test", NAMED, store))

    with joined(patience=60, device="cpu") as world:
        print(f"rank {world.rank}:", conducted(world, lead))
