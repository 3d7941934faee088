"""What people read of a plan."""

from spoe_agent.plan.entries import entries
from spoe_agent.plan.proposal import propose
from spoe_agent.plan.report import report
from tests.plan.described import LLAMA_8B, LLAMA_70B, LLAMA_405B, UNKNOWN, asked, gpus


def told(machine, wishes):
    plan = propose(machine, wishes)
    return report(plan, entries(plan, machine, None, 4096))


def test_every_term_is_shown():
    text = told(gpus(1, 48), [LLAMA_70B])
    assert "gpu0 on GPU GPU-48-0000: num_parallel 1, context 8192, max_loaded_models 1, max_connections 1" in text
    assert "llama3.3:70b                   39.6 + 2.5 + 0.2 + 0.6 = 42.8  (demand 1)" in text
    assert "42.8 of 47.0" in text
    assert text.endswith("Everything fits at the same time.\n")


def test_what_does_not_fit_is_told_with_its_reason():
    text = told(gpus(2, 24), [LLAMA_405B, LLAMA_70B, LLAMA_8B])
    assert "Not loaded beside the others:\n  llama3.1:405b: needs " in text
    assert (
        "llama3.1:8b: needs 6.3 GiB, which one GPU would hold, but not beside what is there; it is loaded in turn"
        in text
    )


def test_copies_and_guesses_are_told():
    text = told(gpus(2, 48), [asked(LLAMA_8B, demand=12.0), UNKNOWN])
    assert "also on gpu" in text
    assert "Fewer copies than the demand needs:\n  llama3.1:8b: 2 of 3 for a demand of 12; " in text
    assert "cache guessed from its size: no Ollama told its shape" in text


def test_an_empty_instance_is_told():
    assert "nothing lives here" in told(gpus(2, 48), [LLAMA_8B])
