"""Every column of the table of voices stands in its reference and in the schema of `vlm import`."""

import json
from pathlib import Path

from lifecycle.services.imports.tables import COLUMNS

ROOT = Path(__file__).parents[3]


def test_every_column_is_described():
    written = (ROOT / "docs" / "reference" / "import-csv.md").read_text(encoding="utf-8")
    named = {
        word.strip(" `")
        for line in written.splitlines()
        if line.startswith("| `")
        for word in line.split("|")[1].split(",")
    }
    assert set(COLUMNS) <= named


def test_every_column_is_in_the_schema():
    schema = json.loads((ROOT / "lifecycle" / "schemas" / "import.schema.json").read_text(encoding="utf-8"))
    voice = schema["oneOf"][0]["properties"]["voices"]["items"]
    assert set(voice["properties"]) == {"kind", *COLUMNS}
