"""Text by domain: eight kinds that are the same bytes on every platform and Python version, or a user's own folders.

A domain is split into training and validation text by whole groups of files, so that what is nearly the same stands
on one side.
"""

from functools import cache
from pathlib import Path

from moedocs.lab.corpora.domains import DOMAINS
from moedocs.lab.corpora.folder import folder_domains, folder_text
from moedocs.lab.corpora.kinds import Text, sha256
from moedocs.lab.corpora.wheels import WHEELS, CorpusError

__all__ = ["DOMAINS", "WHEELS", "CorpusError", "Text", "describe", "folder_domains", "sha256", "text"]


@cache
def text(domain: str) -> Text:
    """The text of a domain, refused unless its bytes are the expected ones; a name with a slash in it is a folder."""
    if "/" in domain:
        return folder_text(domain)
    if domain not in DOMAINS:
        raise CorpusError(
            f"no kind of text is called {domain}: it is {', '.join(DOMAINS)}, or a folder as in ./{domain}"
        )
    description = DOMAINS[domain]
    assembled = description.assemble()
    for side in ("train", "validation"):
        expected, found = getattr(description, f"{side}_sha256"), sha256(getattr(assembled, side))
        if found != expected:
            wheels = ", ".join(f"{name} {WHEELS[name].version}" for name in description.wheels)
            raise CorpusError(
                f"corpus {domain} ({side}) has hash {found[:12]}, expected {expected[:12]}: install unmodified {wheels}"
            )
    return assembled


def describe(domain: str) -> dict[str, str | int | list[str]]:
    """What a record keeps about a domain; of a user's folder its last name only."""
    kept = text(domain)
    wheels = [] if "/" in domain else DOMAINS[domain].wheels
    return {
        "name": Path(domain).resolve().name if "/" in domain else domain,
        "wheels": [f"{name} {WHEELS[name].version} ({WHEELS[name].licence})" for name in wheels],
        "files": len({*kept.train_files, *kept.validation_files}),
        "train_bytes": len(kept.train),
        "train_sha256": sha256(kept.train),
        "validation_bytes": len(kept.validation),
        "validation_sha256": sha256(kept.validation),
    }
