"""The eight kinds of text: where each comes from, and which groups of files are held out for validation.

Translations of one catalogue are one group, whatever the language, so that no message stands on one side and its
translation on the other.
"""

from pathlib import PurePosixPath

from moedocs.lab.corpora.kinds import Collected, Generated, Source
from moedocs.lab.corpora.latex import formulas
from moedocs.lab.corpora.readers import docstrings, messages, translations


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _name(path: str) -> str:
    return PurePosixPath(path).name


def _catalogue(path: str) -> str:
    """The application whose messages a catalogue translates."""
    return path.partition("/locale/")[0] if path.startswith("django/") else _name(path)


def _catalogues(*languages: str) -> Source:
    take = tuple(f"django/*/locale/{language}/LC_MESSAGES/*.po" for language in languages)
    return Source(wheel="Django", take=take, read=translations)


def _pack(language: str) -> Source:
    return Source(wheel=f"jupyterlab-language-pack-{language}", take=("*/LC_MESSAGES/*.json",), read=messages)


# Other folders than those of `code`, whose text has its docstrings in it.
DOCUMENTED = tuple(
    f"sympy/{part}/*.py"
    for part in ("calculus", "combinatorics", "concrete", "functions", "matrices", "ntheory", "series", "vector")
)

DOMAINS: dict[str, Collected | Generated] = {
    "code": Collected(
        sources=(
            Source(
                wheel="Django",
                take=tuple(f"django/{part}/*.py" for part in ("core", "db", "forms", "http", "template", "utils")),
                leave=("*/locale/*", "*/migrations/*"),
            ),
            Source(
                wheel="sympy",
                take=tuple(f"sympy/{part}/*.py" for part in ("core", "geometry", "logic", "sets", "stats")),
                leave=("*/tests/*", "*/benchmarks/*"),
            ),
        ),
        group=_folder,
        validation=frozenset({"django/core/cache/backends", "django/db/models/sql", "django/forms", "sympy/logic"}),
        train_sha256="26a82a04b7233f42d184bd9a1fd0790086ee08bbe3dd8643e90e124966a3090b",
        validation_sha256="bc2231b02eb8d5ec0cbcaa9e96de616c4fcba18a69f27095480e4e5e6ba665a5",
    ),
    "docstrings": Collected(
        sources=(
            Source(
                wheel="Django",
                take=tuple(
                    f"django/{part}/*.py"
                    for part in ("apps", "conf", "contrib", "dispatch", "middleware", "test", "urls", "views")
                ),
                leave=("*/locale/*", "*/migrations/*"),
                read=docstrings,
            ),
            Source(wheel="sympy", take=DOCUMENTED, leave=("*/tests/*", "*/benchmarks/*"), read=docstrings),
        ),
        group=_folder,
        validation=frozenset({"django/contrib/auth", "django/test", "sympy/concrete", "sympy/series"}),
        train_sha256="38a686f10084c3d8b2ac965442a1863455289d594bedbf034c873f07d19a6998",
        validation_sha256="f3fb1f3f0293af823ca97f121d32ba78d832ed4931473e9c1eae0640c792bebc",
    ),
    "headers": Collected(
        sources=(Source(wheel="pybind11", take=("pybind11/include/*.h",)),),
        group=str,
        validation=frozenset(
            f"pybind11/include/pybind11/{name}.h"
            for name in ("chrono", "eigen/common", "eigen/matrix", "eigen/tensor", "functional", "operators")
        ),
        train_sha256="a05120518fa4af94f03e3f8b3ab82f451b59c5c98c79da2ea66293558aff1c13",
        validation_sha256="8bc0ef52a26ac78f5e88473f75f0d66af2e8e5399c7cb5e1404c19fe8883d27d",
    ),
    "json": Collected(
        sources=(Source(wheel="validate-pyproject-schema-store", take=("*/resources/*.json",)),),
        group=_name,
        validation=frozenset(f"{name}.schema.json" for name in ("cibuildwheel", "maturin", "poetry", "pytest")),
        train_sha256="5a75d4101618800e3aab98416691d981c77b3fecbd2a26885f8a85ef97092ef8",
        validation_sha256="9e8685a7e7384b9a778647180ca7d81277b05249774c27b0a3a00d1b43df4b55",
    ),
    "latex": Generated(
        wheel="sympy",
        make=formulas,
        train_sha256="7d48eb3ab037c7088ab4734d6543b76d5276c53cf9f2494927e108877f56ad19",
        validation_sha256="d5b2cebc941276767fb77cd44bd1ae8fb3bdad04f047e2aa1941678d1692d874",
    ),
    "latin": Collected(
        sources=(_catalogues("cs", "de", "es", "fi", "fr", "it", "nl", "pl", "pt", "sv"),),
        group=_catalogue,
        validation=frozenset({"django/contrib/auth", "django/contrib/redirects"}),
        train_sha256="c89ebbfd517d9a4fa9b4669584fb3aec803cb34efa37248098ae1c47d9c9af2d",
        validation_sha256="8d5dad3434b75678aa4e6a8c1c74394953de3ca2a0c0d3f0cd971f67e0f5dd4f",
    ),
    "cyrillic": Collected(
        sources=(_catalogues("be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "uk"),),
        group=_catalogue,
        validation=frozenset({"django/contrib/auth", "django/contrib/redirects"}),
        train_sha256="71aa0ed7e8c10ba67d1d9dc25d21b70ac757a2f196f7eecc182b8dd7978a5e4f",
        validation_sha256="b01e5956788ac2c6951cbf085569f7acf10860b2bc84a5e49ea6bd666e9dc9a4",
    ),
    "cjk": Collected(
        sources=(_catalogues("ja", "ko", "zh_Hans", "zh_Hant"), _pack("ja-JP"), _pack("ko-KR"), _pack("zh-CN")),
        group=_catalogue,
        validation=frozenset({"django/contrib/auth", "django/contrib/redirects", "jupyterlab_lsp.json"}),
        train_sha256="711218b9608c9588c04bc29416959347585280c7b484d1dafb43ac7451bd16d2",
        validation_sha256="5845133d59b9bd486256b5effce1f1667f8d17025db4cffc3830f44992793e41",
    ),
}
