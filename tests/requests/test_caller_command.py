import pytest
from click.testing import CliRunner

from spoe_agent.cli import main


@pytest.mark.parametrize(("typed", "told"), [("sesame\n", "5303568800376557718\n"), ("u:p", "-1271028666801553026\n")])
def test_a_key_on_standard_input(typed, told):
    done = CliRunner().invoke(main, ["caller"], input=typed)
    assert (done.exit_code, done.output) == (0, told)


def test_no_key():
    done = CliRunner().invoke(main, ["caller"], input="\n")
    assert done.exit_code == 1
    assert "no key on standard input" in done.output


def test_keys_are_not_taken_from_the_command_line():
    assert CliRunner().invoke(main, ["caller", "sesame"]).exit_code == 2
