"""What torchrun starts in a test: rank 0 has trainings done, as a sweep does, and the others take part."""

import sys
from dataclasses import replace
from pathlib import Path

from moedocs.lab import workers
from moedocs.lab.large import Work, conducted, large_store
from moedocs.parallel import joined
from moedocs.problem import Problem
from tests.parallel.training_worker import RUNS, too_fast

ENDLESS = replace(RUNS["dense"], training=replace(RUNS["dense"].training, steps=10**9))
NAMED = {"experts": RUNS["experts"], "wild": too_fast(RUNS["experts"])}

if __name__ == "__main__":
    store = large_store(Path(sys.argv[1]))

    def lead(work: Work) -> str:
        return str(workers.trained(work, "a test", NAMED, store))

    def refused(work: Work) -> None:
        work("a test", {"endless": ENDLESS}, store)

    with joined(patience=60, device="cpu") as world:
        print(f"rank {world.rank}:", conducted(world, lead), flush=True)
        try:
            conducted(world, refused)
            print(f"rank {world.rank} goes home", flush=True)
        except Problem as problem:
            print("said:", problem, flush=True)
