"""What is read from a file: translations from a catalogue, docstrings from source."""

import ast
import json
import re


def translations(catalogue: bytes) -> bytes:
    """The translated strings of a gettext catalogue, one per line: its `msgstr` entries without the header."""
    entries = re.findall(rb'^msgstr(?:\[\d+\])? (".*"(?:\n".*")*)', catalogue, re.MULTILINE)
    strings = [b"".join(re.findall(rb'"(.*)"', entry)) for entry in entries[1:]]
    return b"".join(re.sub(rb"\\(.)", _unescaped, string) + b"\n" for string in strings if string)


def _unescaped(match: re.Match[bytes]) -> bytes:
    return {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(match[1], match[1])


def messages(catalogue: bytes) -> bytes:
    """The translated strings of a JSON catalogue, one per line, without its header and what stays mostly in ASCII."""
    content: dict[str, list[str]] = json.loads(catalogue)
    content.pop("", None)
    strings = (string.strip() for forms in content.values() for string in forms)
    return "".join(f"{string}\n" for string in strings if _in_another_script(string)).encode()


def _in_another_script(string: str) -> bool:
    """Names and markup are in ASCII in every language; whole examples of code are no translation."""
    return 4 * sum(not character.isascii() for character in string) > len(string)


def docstrings(source: bytes) -> bytes:
    """The docstrings of a module in the order of their lines, dedented, with an empty line behind each.

    Evaluated apart from the module they document: what a compiler makes of a docstring's indentation differs between
    Python versions, and so does `inspect.cleandoc`.
    """
    lines = source.split(b"\n")
    found = sorted(_literals(ast.parse(source)), key=lambda node: node.lineno)
    return "".join(f"{dedented(ast.literal_eval(_segment(lines, node)))}\n\n" for node in found).encode()


def _literals(tree: ast.Module) -> list[ast.expr]:
    return [
        first.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body
        if isinstance(first := node.body[0], ast.Expr)
        if isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    ]


def _segment(lines: list[bytes], node: ast.expr) -> str:
    """The source of a node; its columns count bytes."""
    last = node.end_lineno or node.lineno
    rows = lines[node.lineno - 1 : last]
    rows[-1] = rows[-1][: node.end_col_offset]
    rows[0] = rows[0][node.col_offset :]
    return b"\n".join(rows).decode()


def dedented(docstring: str) -> str:
    """The text without the indentation that all its lines but the first share."""
    first, *rest = (line.rstrip(" ") for line in docstring.expandtabs().split("\n"))
    margin = min((len(line) - len(line.lstrip(" ")) for line in rest if line), default=0)
    return "\n".join([first.lstrip(" "), *(line[margin:] for line in rest)]).strip("\n")
