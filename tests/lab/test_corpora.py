"""Text by domain: its hashes, its split, and what is refused."""

import gettext
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from moedocs.lab import corpora


@pytest.mark.parametrize("domain", corpora.DOMAINS)
def test_every_corpus_has_the_bytes_that_its_hash_names(domain: str) -> None:
    kept = corpora.text(domain)
    assert corpora.sha256(kept.train) == corpora.DOMAINS[domain].train_sha256
    assert corpora.sha256(kept.validation) == corpora.DOMAINS[domain].validation_sha256
    assert len(kept.train) > 4 * len(kept.validation) > 100_000


def test_other_bytes_are_refused_in_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(corpora.DOMAINS, "other", replace(corpora.DOMAINS["headers"], train_sha256="0" * 64))
    with pytest.raises(corpora.CorpusError, match=r"^corpus other \(train\) has hash .*pybind11 \d+\.\d+\.\d+$"):
        corpora.text("other")


def test_another_version_of_a_wheel_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(corpora.WHEELS, "pybind11", corpora.Wheel(version="0.1", licence="BSD-3-Clause"))
    with pytest.raises(corpora.CorpusError, match=r"^the training text is .* pip install pybind11==0\.1$"):
        corpora.assemble(corpora.DOMAINS["headers"])


@pytest.mark.parametrize("domain", corpora.DOMAINS)
def test_training_and_validation_share_no_file_and_no_group_of_files(domain: str) -> None:
    kept, group = corpora.text(domain), corpora.DOMAINS[domain].group
    assert kept.train_files
    assert set(map(group, kept.validation_files)) == corpora.DOMAINS[domain].validation
    assert not set(map(group, kept.train_files)) & set(map(group, kept.validation_files))


def test_translations_are_the_strings_that_gettext_finds_in_the_compiled_catalogue() -> None:
    domains = [corpora.DOMAINS[name] for name in ("latin", "cyrillic")]
    paths = [path for domain in domains for source in domain.sources for path, _ in corpora._files(source)]
    django = metadata.distribution("Django")
    for path in map(Path, map(str, map(django.locate_file, paths))):
        with path.with_suffix(".mo").open("rb") as file:
            compiled: dict[str, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        expected = "".join(f"{string}\n" for key, string in compiled.items() if key and string)
        assert sorted(corpora.translations(path.read_bytes()).decode()) == sorted(expected), path
