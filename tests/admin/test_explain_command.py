"""`pointsman explain`: what is asked of the agent."""

import pytest
from click.testing import CliRunner

from spoe_agent.admin.explain_command import explain


@pytest.mark.parametrize(
    "args", [[], ["r1", "--last", "3"], ["r1", "--model", "a"], ["--last", "0"], ["--last", "1001"]], ids=" ".join
)
def test_what_does_not_go_together_is_said(args, tmp_path):
    done = CliRunner().invoke(explain, [*args, "--fleet", str(tmp_path / "fleet.yaml")])
    assert done.exit_code == 2
    assert "--last" in done.output
