"""For all tests: hypothesis without a time limit (machines differ), its examples beside the other caches; figures."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.database import DirectoryBasedExampleDatabase

# tables of a few tokens: waking more threads costs more than they save
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("moedocs", deadline=None, database=DirectoryBasedExampleDatabase(".cache/hypothesis"))
# for `make mutants`: a failure need not be the simplest one, and a slow machine is none
once = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("few", once, max_examples=10)
settings.register_profile("many", once, max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "moedocs"))


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
