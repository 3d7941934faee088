from __future__ import annotations

import json

from click.testing import CliRunner

from spoe_agent.fleet import json_schema
from spoe_agent.fleet.command import schema


def test_the_schema_is_printed_as_json() -> None:
    result = CliRunner().invoke(schema, [])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()
