"""For all tests: hypothesis without a time limit (machines differ), its examples beside the other caches; figures."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

settings.register_profile("moedocs", deadline=None, database=DirectoryBasedExampleDatabase(".cache/hypothesis"))
settings.load_profile("moedocs")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all figures, built once, where a site's docs would have it; one that fails leaves its reason."""
    from moedocs.lab.fingerprint import ROOT
    from moedocs.site import figures
    from moedocs.site.figure import paths

    folder = tmp_path_factory.mktemp("docs") / "assets" / "figures"
    for name, path in paths(ROOT).items():
        figures.build(name, path, folder)
    return folder
