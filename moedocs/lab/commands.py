"""`moedocs lab …`: see, run and check the experiments. Torch is loaded only by what trains."""

import argparse
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moedocs.lab import experiments, records
from moedocs.problem import Problem

if TYPE_CHECKING:
    from moedocs.lab.training import Run


def add_to(rooms: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Put the subcommand and its own subcommands under `moedocs`."""
    lab = rooms.add_parser("lab", help="trainings and the records they leave", description=__doc__)
    verbs = lab.add_subparsers(metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--records", type=Path, default=records.RECORDS, metavar="FOLDER", help="where records lie (figures/records)"
    )
    verb = verbs.add_parser("list", parents=[common], help="every experiment and the state of its record")
    verb.set_defaults(command=_list)
    verb = verbs.add_parser("show", parents=[common], help="what a record says in short")
    verb.add_argument("name", help="an experiment")
    verb.set_defaults(command=_show)
    verb = verbs.add_parser("run", parents=[common], help="do the trainings, write the record")
    verb.add_argument("name", help="an experiment, or all; or the dotted name of a module of your own that is one")
    verb.add_argument("--force", action="store_true", help="do all trainings anew, of a record that is up to date too")
    verb.add_argument("--jobs", type=_jobs, metavar="N", help="trainings at a time (default: one per core)")
    verb.add_argument(
        "--dask", metavar="ADDRESS", help="train on the cluster of this Dask scheduler, as tcp://host:8786"
    )
    verb.add_argument(
        "--text", type=Path, metavar="FOLDER", help="train on your own text, a kind per subfolder; needs --records"
    )
    verb.add_argument(
        "--store",
        type=Path,
        metavar="FOLDER",
        help="where trainings lie, to be used again (.cache/lab of this project)",
    )
    _add_scale(verb)
    verb.set_defaults(command=_run)
    verb = verbs.add_parser("check", parents=[common], help="re-run the first steps of a record and compare")
    verb.add_argument("name", help="an experiment, or all")
    verb.set_defaults(command=_check)


def _add_scale(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--scale",
        choices=("small", "large"),
        default="small",
        help="large: the same experiment at sizes for GPUs, alone or under torchrun; needs --text and --records",
    )
    verb.add_argument("--dry-run", action="store_true", help="train nothing, say what it would take, on --devices")
    verb.add_argument(
        "--device", default="H100", metavar="NAME", help="a device that `moedocs cost` knows (default: H100)"
    )
    verb.add_argument("--devices", type=_jobs, default=1, metavar="N", help="how many share a training (default: 1)")


def state(name: str, folder: Path = records.RECORDS) -> str:
    """`up to date`, or why the record cannot be used."""
    try:
        records.load(name, folder)
    except records.RecordError as error:
        return error.state
    return "up to date"


def _list(arguments: argparse.Namespace) -> int:
    width = max(map(len, experiments.names()))
    for name in experiments.names():
        print(f"{name:<{width}} {state(name, arguments.records):<11} {experiments.title(name)}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    name = experiments.known(arguments.name)
    record = records.load(name, arguments.records, stale=True)
    print(f"{name}: {experiments.title(name)}")
    print(f"record       {state(name, arguments.records)}, fingerprint {record.fingerprint}")
    made = record.made
    print(f"made         torch {made['torch']}, {made['machine']}, {made['cpu_seconds']:,} CPU seconds")
    for domain, text in record.corpora.items():
        source = ", ".join(text["wheels"] or ["your folder"])
        print(f"text         {domain}: {text['train_bytes']:,} bytes, from {source}")
    print(f"trainings    {', '.join(record.settings['runs'])}")
    for arm, losses in record.tuning.items():
        tried = ", ".join(f"{rate}: {loss if loss is not None else 'failed'}" for rate, loss in losses.items())
        print(f"rate         {arm} {record.learning_rates[arm]:g} (loss at {tried})")
    for key, value in record.results["summary"].items():
        print(f"{key:<12} {json.dumps(value, ensure_ascii=False)}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    chosen = _chosen(arguments.name)
    if arguments.dry_run:
        return _planned(chosen, arguments)
    for option, given in (("--text", arguments.text), ("--scale large", arguments.scale == "large")):
        if given and arguments.records.resolve() == records.RECORDS:
            raise Problem(
                f"{option} makes other records than the published ones: name a folder for them with --records"
            )
    anew: set[Run] | None = set() if arguments.force else None
    for name in chosen:
        before = state(name, arguments.records)
        if before == "up to date" and anew is None and not arguments.text:
            print(f"{name}: up to date")
            continue
        with _terminated_as_interrupted():
            record = _computed(name, arguments, anew)
        if record is None:  # one of several processes, another of which writes it
            continue
        made = record.made
        path = records.path_of(name, arguments.records)
        done = f"{made['trainings']} trainings, {made['cpu_seconds']:,} CPU seconds"
        print(f"{name}: was {before}; written to {path}: {done}", flush=True)
    return 0


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C, so that processes and files are cleared away."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _computed(name: str, arguments: argparse.Namespace, anew: "set[Run] | None") -> records.Record | None:
    from moedocs.lab import corpora, sweep
    from moedocs.lab.store import FOLDER, Store

    domains = corpora.folder_domains(str(arguments.text)) if arguments.text else None
    if arguments.scale == "large":
        return _computed_large(name, arguments.records, domains, arguments.store or FOLDER)
    return sweep.run(
        name,
        arguments.records,
        jobs=arguments.jobs,
        dask=arguments.dask,
        domains=domains,
        anew=anew,
        store=Store(arguments.store or FOLDER),
    )


def _computed_large(name: str, folder: Path, domains: tuple[str, ...] | None, store: Path) -> records.Record | None:
    """On the processes of torchrun, or this one alone: the record on the first of them, None on the others."""
    from moedocs.lab import large, sweep
    from moedocs.lab.scale import SCALES, scaled
    from moedocs.parallel import joined

    with joined() as world:
        return large.conducted(
            world,
            lambda worker: sweep.run(
                name,
                folder,
                domains=domains,
                store=large.large_store(store / "large"),
                scale=lambda run: scaled(run, SCALES["large"]),
                worker=worker,
                machine=f"{world.size} x {world.device.type}",
            ),
        )


def _planned(chosen: list[str], arguments: argparse.Namespace) -> int:
    from importlib import import_module

    from moedocs.lab.plan import listed, plan, table
    from moedocs.lab.scale import SCALES, scaled

    for name in chosen:
        runs = listed(import_module(records.module_of(name)))
        at_scale = {key: scaled(run, SCALES[arguments.scale]) for key, run in runs.items()}
        try:
            found = plan(at_scale, arguments.device, devices=arguments.devices)
        except ValueError as error:
            raise Problem(f"--dry-run: {error}") from None
        print(f"{name}: {experiments.title(name)}")
        print(table(found))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    chosen = _chosen(arguments.name)
    from moedocs.lab import sweep

    agree = True
    for name in chosen:
        if state(name, arguments.records) == "stale":
            print(f"{name}: stale, the code has changed since; do its first steps still come out?")
        made_with = records.load(name, arguments.records, stale=True).made["torch"]
        if made_with != (found := sweep.torch_version()):
            print(f"{name}: made with torch {made_with}, and this is {found}; do its first steps still come out?")
        for one in sweep.check(name, arguments.records):
            agree &= one.agrees
            verdict = "agrees" if one.agrees else f"DIFFERS (tolerance {sweep.TOLERANCE:g})"
            print(f"{name} {one.key:<12} first steps differ by {one.difference:.1e} of the loss: {verdict}", flush=True)
    return 0 if agree else 1


def _chosen(name: str) -> list[str]:
    return experiments.names() if name == "all" else [experiments.known(name)]


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of trainings, at least 1")
    return int(text)
