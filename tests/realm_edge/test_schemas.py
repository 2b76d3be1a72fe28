"""The schemas that are published are those of the models that read the files, and what is written here is valid by them."""

import json
from pathlib import Path

import pytest

from realm_edge.app.schemas import SCHEMAS, schema_text

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_published_is_current(name):
    """After a change of a model: python -m realm_edge.app.schemas docs/schemas."""
    assert (PUBLISHED / f"{name}.schema.json").read_text() == schema_text(name)


def test_nothing_else_is_published():
    assert {path.name for path in PUBLISHED.iterdir()} == {f"{name}.schema.json" for name in SCHEMAS}


def test_every_field_of_a_record_is_described():
    properties = json.loads(schema_text("stage"))["properties"]
    assert set(properties) == {"format", "made_by", "summary", "outputs", "made_from", "digest"}
    assert json.loads(schema_text("step-graph"))["properties"]["format"]["const"] == "realm-edge step graph/1"
