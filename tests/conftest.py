"""Settings for all tests: hypothesis without a time limit (machines differ), its examples beside the other caches."""

from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

settings.register_profile("moedocs", deadline=None, database=DirectoryBasedExampleDatabase(".cache/hypothesis"))
settings.load_profile("moedocs")
