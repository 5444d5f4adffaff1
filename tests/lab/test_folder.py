"""A user's own text: which files of a folder are read, on which side each stands, and what is refused."""

import os
from pathlib import Path

import pytest

from moedocs.lab import corpora
from moedocs.lab.corpora import folder

LINE = "A line of some length about nothing in particular.\n"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Sixty files of text, each different."""
    for number in range(60):
        path = tmp_path / "notes" / f"part{number % 4}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{number}: {LINE * 30}".encode())
    return tmp_path / "notes"


def test_every_file_stands_whole_on_one_side_and_about_a_tenth_is_held_out(notes: Path) -> None:
    kept = corpora.text(str(notes))
    assert not set(kept.train_files) & set(kept.validation_files)
    assert 2 <= len(kept.validation_files) <= 12
    for names, side in ((kept.train_files, kept.train), (kept.validation_files, kept.validation)):
        assert list(names) == sorted(names)
        assert side == b"".join((notes / name).read_bytes() for name in names)
    assert len(kept.train_files) + len(kept.validation_files) == 60


def test_the_split_does_not_depend_on_where_the_folder_lies_or_how_it_is_named(
    notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = corpora.text(str(notes))
    monkeypatch.chdir(notes.parent)
    assert corpora.text("./notes") == expected
    notes.rename(notes.parent / "others")
    assert corpora.text("./others") == expected


def test_a_new_file_moves_no_other(notes: Path) -> None:
    before = corpora.text(str(notes))
    (notes / "new.txt").write_text(LINE)
    after = folder.folder_text(str(notes))
    assert set(before.train_files) <= set(after.train_files)
    assert set(before.validation_files) <= set(after.validation_files)


def test_files_of_the_same_bytes_stand_on_one_side(notes: Path) -> None:
    for path in sorted(notes.glob("*/*.txt")):
        (notes / "copies").mkdir(exist_ok=True)
        (notes / "copies" / path.name).write_bytes(path.read_bytes())
    kept = corpora.text(str(notes))
    assert len(kept.train_files) + len(kept.validation_files) == 120
    contents = [{(notes / name).read_bytes() for name in names} for names in (kept.train_files, kept.validation_files)]
    assert not contents[0] & contents[1]


def test_hidden_empty_binary_and_huge_files_are_left_out(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LARGEST", 10_000)
    expected = folder.folder_text(str(notes))
    (notes / ".git").mkdir()
    for name, content in {".git/x": b"text", ".y": b"text", "a": b"", "b": b"P\0NG", "c": b"x" * 10_001}.items():
        (notes / name).write_bytes(content)
    assert folder.folder_text(str(notes)) == expected


def test_any_bytes_without_a_zero_are_text(notes: Path) -> None:
    (notes / "latin-1.txt").write_bytes("Größe\n".encode("latin-1"))
    kept = corpora.text(str(notes))
    assert "Größe\n".encode("latin-1") in kept.train + kept.validation


@pytest.mark.parametrize("number", range(2, 8))
def test_of_a_few_files_at_least_one_is_on_each_side_and_both_are_long_enough(tmp_path: Path, number: int) -> None:
    for name in range(number):
        (tmp_path / f"{name}.txt").write_text(f"{name}" + LINE * 6)
    (tmp_path / "long.txt").write_text(LINE * 50)
    kept = corpora.text(str(tmp_path))
    assert min(len(kept.train), len(kept.validation)) >= folder.SHORTEST
    assert kept.train_files
    assert kept.validation_files


@pytest.mark.parametrize("copies", [1, 3])
def test_the_only_file_is_cut_at_nine_tenths(tmp_path: Path, copies: int) -> None:
    for number in range(copies):
        (tmp_path / f"{number}.txt").write_text(LINE * 200)
    kept = corpora.text(str(tmp_path))
    assert kept.train + kept.validation == (LINE * 200).encode()
    assert len(kept.train) == 9 * len(kept.validation)


def test_a_folder_is_described_by_its_last_name_alone(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, said = corpora.text(str(notes)), corpora.describe(str(notes))
    assert said == {
        "name": "notes",
        "wheels": [],
        "files": 60,
        "train_bytes": len(kept.train),
        "train_sha256": corpora.sha256(kept.train),
        "validation_bytes": len(kept.validation),
        "validation_sha256": corpora.sha256(kept.validation),
    }
    monkeypatch.chdir(notes)
    assert corpora.describe("./")["name"] == "notes"


def test_the_subfolders_are_the_domains_or_the_folder_itself(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (notes / ".hidden").mkdir()
    assert corpora.folder_domains(f"{notes}/") == tuple(f"{notes.as_posix()}/part{number}" for number in range(4))
    assert corpora.folder_domains(str(notes / "part0")) == (f"{notes.as_posix()}/part0",)
    monkeypatch.chdir(notes)
    assert corpora.folder_domains(".") == tuple(f"./part{number}" for number in range(4))
    assert corpora.folder_domains("part0") == ("./part0",)
    monkeypatch.chdir(notes / "part0")
    assert len(corpora.text(*corpora.folder_domains(".")).train_files) > 10


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone", None, "there is no such folder"),
        ("gone/", None, "there is no such folder"),
        ("file", b"text", "not a folder"),
        ("empty/.hidden", b"text", "there is no text file in this folder"),
        ("short/a.txt", b"text", "4 bytes of training text are too short, 512 are the least"),
        ("short/b.txt", b"x" * 5000, "500 bytes of validation text are too short, 512 are the least"),
    ],
)
def test_what_is_no_folder_of_text_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    asked = tmp_path / name.partition("/")[0]
    if content is not None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(corpora.CorpusError) as refusal:
        corpora.text(str(asked))
    assert str(refusal.value) == f"{asked}: {said}"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(notes: Path) -> None:
    (notes / "part0" / "0.txt").chmod(0)
    with pytest.raises(corpora.CorpusError, match=r"0\.txt: cannot be read \(Permission denied\)$"):
        corpora.text(str(notes))
