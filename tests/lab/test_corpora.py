"""Text by domain: its hashes, its split, and what is refused."""

import gettext
import os
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from moedocs.lab import corpora
from moedocs.lab.corpora import kinds, readers, wheels
from moedocs.lab.corpora.kinds import Collected, Generated
from moedocs.lab.experiments import one_token
from moedocs.lab.small import DOMAINS as SMALL_DOMAINS

ROOT = Path(__file__).parents[2]
COLLECTED = {name: domain for name, domain in corpora.DOMAINS.items() if isinstance(domain, Collected)}


def _lines(content: bytes, longer_than: int) -> list[bytes]:
    return [line for line in map(bytes.strip, content.split(b"\n")) if len(line) > longer_than]


@pytest.mark.parametrize("name", SMALL_DOMAINS)
def test_every_corpus_has_the_bytes_that_its_hash_names(name: str) -> None:
    kept, domain = corpora.text(name), corpora.DOMAINS[name]
    assert corpora.sha256(kept.train) == domain.train_sha256
    assert corpora.sha256(kept.validation) == domain.validation_sha256
    assert len(kept.train) > 4 * len(kept.validation) > 100_000
    assert len(kept.train) > 270_000


def test_the_small_experiments_name_every_kind_of_text_there_is() -> None:
    assert sorted(SMALL_DOMAINS) == sorted(corpora.DOMAINS)


def test_other_bytes_are_refused_in_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(corpora.DOMAINS, "other", replace(corpora.DOMAINS["headers"], train_sha256="0" * 64))
    with pytest.raises(corpora.CorpusError, match=r"^corpus other \(train\) has hash .*pybind11 \d+\.\d+\.\d+$"):
        corpora.text("other")


@pytest.mark.parametrize("wheel", ["pybind11", "sympy"])
def test_another_version_of_a_wheel_is_refused_before_it_is_read(
    wheel: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kinds, "KEPT", tmp_path)
    monkeypatch.setitem(corpora.WHEELS, wheel, wheels.Wheel(version="0.1", licence="BSD-3-Clause"))
    with pytest.raises(corpora.CorpusError, match=rf"^the training text is .* pip install {wheel}==0\.1$"):
        corpora.DOMAINS["latex" if wheel == "sympy" else "headers"].assemble()


def test_a_kind_of_text_that_does_not_exist_is_refused() -> None:
    with pytest.raises(corpora.CorpusError, match=r"^no kind of text is called prose: it is code, .*, or a folder"):
        corpora.text("prose")


@pytest.mark.parametrize("name", COLLECTED)
def test_training_and_validation_share_no_file_and_no_group_of_files(name: str) -> None:
    kept, group = corpora.text(name), COLLECTED[name].group
    assert kept.train_files
    assert set(map(group, kept.validation_files)) == COLLECTED[name].validation
    assert not set(map(group, kept.train_files)) & set(map(group, kept.validation_files))


@pytest.mark.parametrize("name", corpora.DOMAINS)
def test_few_long_lines_of_validation_occur_in_training(name: str) -> None:
    """Licences, imports and the frame of every header are what is shared; of the translations, a message or two."""
    kept = corpora.text(name)
    trained = set(_lines(kept.train, 40))
    shared = sum(len(line) for line in _lines(kept.validation, 40) if line in trained)
    assert shared < (0.06 if name == "headers" else 0.02) * len(kept.validation)


def test_no_file_of_the_code_is_a_file_of_the_docstrings() -> None:
    code, docstrings = corpora.text("code"), corpora.text("docstrings")
    assert not {*code.train_files, *code.validation_files} & {*docstrings.train_files, *docstrings.validation_files}


@pytest.mark.parametrize("place", one_token.PLACES, ids=lambda place: place.phrase)
def test_the_phrases_to_follow_stand_in_validation_text(place: one_token.Place) -> None:
    assert place.phrase.encode() in corpora.text(place.domain).validation[one_token.POSITION : -one_token.LENGTH]


def test_what_a_record_says_of_a_corpus_names_wheels_licences_files_and_bytes() -> None:
    kept, said = corpora.text("json"), corpora.describe("json")
    assert said == {
        "name": "json",
        "wheels": ["validate-pyproject-schema-store 2026.10.23 (Apache-2.0)"],
        "files": len(kept.train_files) + len(kept.validation_files),
        "train_bytes": len(kept.train),
        "train_sha256": corpora.DOMAINS["json"].train_sha256,
        "validation_bytes": len(kept.validation),
        "validation_sha256": corpora.DOMAINS["json"].validation_sha256,
    }


@pytest.mark.parametrize("name", corpora.DOMAINS)
def test_the_lock_pins_the_wheels_that_the_text_is_of(name: str) -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    for wheel in corpora.DOMAINS[name].wheels:
        assert f"\n{wheel.lower()}=={corpora.WHEELS[wheel].version} \\\n" in lock


def test_importing_the_corpora_imports_neither_sympy_nor_torch() -> None:
    code = "import sys, moedocs.lab.corpora; sys.exit(bool({'sympy', 'torch', 'numpy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# translations


def test_translations_are_the_strings_that_gettext_finds_in_the_compiled_catalogue() -> None:
    paths = [path for name in ("latin", "cyrillic", "cjk") for path in _catalogues(name)]
    assert len(paths) > 250
    for path in paths:
        with path.with_suffix(".mo").open("rb") as file:
            compiled: dict[str, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        expected = "".join(f"{string}\n" for key, string in compiled.items() if key and string)
        assert sorted(readers.translations(path.read_bytes()).decode()) == sorted(expected), path


def _catalogues(name: str) -> list[Path]:
    kept, django = corpora.text(name), metadata.distribution("Django")
    return [
        Path(str(django.locate_file(path)))
        for path in (*kept.train_files, *kept.validation_files)
        if path[-3:] == ".po"
    ]


def test_messages_are_what_a_catalogue_says_in_another_script() -> None:
    catalogue = '{"": {"domain": "x"}, "Save": ["保存"], "menu\\u0004Open": ["開く ", "JSON"], "URL": ["URL"]}'
    assert readers.messages(catalogue.encode()).decode() == "保存\n開く\n"


# docstrings

MODULE = '''
"""One \\
line."""
def f():
    r"""Raw \\d.

\tTabbed.
      Deeper.
    """
class A:
    "Joined " "of two."
    async def g(self): """Short: é."""; x = """no docstring"""
    def h(self):
        f"""{1}"""
'''


def test_docstrings_are_read_in_the_order_of_lines_and_dedented() -> None:
    expected = ["One line.", "Raw \\d.\n\n  Tabbed.\nDeeper.", "Joined of two.", "Short: é."]
    assert readers.docstrings(MODULE.encode()).decode() == "".join(f"{one}\n\n" for one in expected)


def test_dedenting_is_what_inspect_does_where_pythons_agree() -> None:
    import inspect

    for docstring in (inspect.getdoc, subprocess.run, Path.glob, os.walk):
        assert readers.dedented(docstring.__doc__ or "").rstrip() == inspect.cleandoc(docstring.__doc__ or "").rstrip()


# formulas

FORMULAS = """
import hashlib
from moedocs.lab.corpora.latex import formulas
print(*(hashlib.sha256(side).hexdigest() for side in formulas()))
"""


def test_formulas_do_not_depend_on_the_order_of_sets() -> None:
    expected = f"{corpora.DOMAINS['latex'].train_sha256} {corpora.DOMAINS['latex'].validation_sha256}\n"
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", FORMULAS],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    assert [command.communicate()[0] for command in commands] == [expected, expected]


def test_no_formula_of_validation_occurs_in_training_and_none_twice() -> None:
    kept = corpora.text("latex")
    held_out = kept.validation.splitlines()
    assert not [line for line in held_out if line in kept.train]
    assert len(set(held_out)) == len(held_out) > 300


def test_generated_text_is_kept_and_made_anew_when_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "KEPT", tmp_path / "kept")
    made = []
    sides = (b"a formula\n", b"another\n")
    hashes = {"train_sha256": corpora.sha256(sides[0]), "validation_sha256": corpora.sha256(sides[1])}

    def make() -> tuple[bytes, bytes]:
        made.append(1)
        return sides

    domain = Generated(wheel="sympy", make=make, **hashes)
    for times in (1, 1):
        assert (domain.assemble().train, domain.assemble().validation) == sides
        assert len(made) == times
    (tmp_path / "kept" / hashes["train_sha256"]).write_bytes(b"a formu")
    assert domain.assemble().train == sides[0]
    assert len(made) == 2
    assert sorted(os.listdir(tmp_path / "kept")) == sorted(hashes.values())


def test_generated_text_is_made_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(kinds, "KEPT", tmp_path / "file")
    domain = Generated(wheel="sympy", make=lambda: (b"a", b"b"), train_sha256="", validation_sha256="")
    assert domain.assemble() == corpora.Text(train=b"a", validation=b"b")
