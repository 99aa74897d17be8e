"""`azinfer.toml`: errors name the line, the field and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from azinfer.core import ConfigurationError
from azinfer.core.toml_tables import Table, read

TEXT = """# where requests go
default = "main"

[endpoints.main]
url = "https://contoso.services.ai.azure.com"
names = [
  "a",
  "b",
]

[endpoints."the west"]
text = \"\"\"
url = "not this one"
\"\"\"
url = 5
"""


@pytest.fixture
def table(tmp_path: Path) -> Table:
    path = tmp_path / "azinfer.toml"
    path.write_text(TEXT, "utf-8")
    return read(path)


def test_fields_are_read_by_their_type(table: Table) -> None:
    assert table.require("default", str) == "main"
    main = table.tables("endpoints")["main"]
    assert main.get("names", list) == ["a", "b"]
    assert main.get("nothing", str) is None
    assert "names" in main
    assert "nothing" not in main
    assert main.table("headers").tables() == {}


def test_an_integer_is_a_number_but_not_a_boolean(tmp_path: Path) -> None:
    path = tmp_path / "azinfer.toml"
    path.write_text("capacity = 3\nflag = true\n", "utf-8")
    table = read(path)
    assert table.get("capacity", float) == 3.0
    assert table.get("capacity", int) == 3
    with pytest.raises(ConfigurationError, match="line 2: flag: must be a whole number"):
        table.get("flag", int)


def test_a_field_of_any_type_counts_as_known(tmp_path: Path) -> None:
    path = tmp_path / "azinfer.toml"
    path.write_text("engine = 3\n", "utf-8")
    table = read(path)
    assert (table.value("engine"), table.value("nothing")) == (3, None)
    table.close()


@pytest.mark.parametrize(
    ("endpoint", "field", "line"),
    [
        ("main", "url", 5),
        ("main", "names", 6),
        ("main", "missing", 4),
        ("the west", "text", 12),
        ("the west", "url", 15),
        ("the west", None, 11),
    ],
)
def test_errors_name_the_line(table: Table, endpoint: str, field: str | None, line: int) -> None:
    error = table.tables("endpoints")[endpoint].wrong("is wrong", field)
    name = endpoint if endpoint == "main" else f'"{endpoint}"'
    where = f"endpoints.{name}" + (f".{field}" if field else "")
    assert error.message.endswith(f"azinfer.toml, line {line}: {where}: is wrong")


def test_an_error_about_the_whole_file_names_line_one(table: Table) -> None:
    assert ", line 1: nothing: no" in table.wrong("no", "nothing").message


def test_a_wrong_type_is_refused(table: Table) -> None:
    west = table.tables("endpoints")["the west"]
    with pytest.raises(ConfigurationError, match=r"line 15: .*url: must be text in quotes"):
        west.get("url", str)


def test_a_missing_field_is_refused(table: Table) -> None:
    with pytest.raises(ConfigurationError, match=r"line 1: model: is missing; it must be text"):
        table.require("model", str)


def test_an_unknown_field_is_refused_and_the_nearest_named(table: Table) -> None:
    main = table.tables("endpoints")["main"]
    main.get("urls", str)
    main.get("names", list)
    with pytest.raises(
        ConfigurationError,
        match=r"line 5: endpoints.main.url: is unknown; did you mean 'urls'\? "
        "known here: names, urls",
    ):
        main.close()
    with pytest.raises(ConfigurationError, match="url: is unknown; known here: nothing"):
        table.tables("endpoints")["main"].close()


def test_a_table_closes_after_all_its_fields_are_read(table: Table) -> None:
    main = table.tables("endpoints")["main"]
    main.get("url", str)
    main.get("names", list)
    main.close()


def test_a_missing_or_malformed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "azinfer.toml"
    with pytest.raises(ConfigurationError, match=r"azinfer.toml cannot be read: No such file"):
        read(path)
    path.write_bytes(b'a = "\xff"')
    with pytest.raises(ConfigurationError, match=r"azinfer.toml cannot be read: .*utf-8"):
        read(path)
    path.write_text("[a]\nb = ?\nc = 1", "utf-8")
    with pytest.raises(ConfigurationError, match=r"azinfer.toml is not valid TOML: .*line 2"):
        read(path)
