"""What people may call a GPU."""

import pytest

from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.resolve import UnknownGpu, bindable, bound_by, resolve

FIRST, SECOND, PART = "GPU-8f1c6f0e-0c4e", "GPU-8f1d0000-0c4e", "MIG-11111111-aaaa"
HOST = (
    GpuReading(FIRST, index=0, pci_bus_id="0000:3b:00.0"),
    GpuReading(SECOND, index=1, pci_bus_id="0000:af:00.0"),
    GpuReading(PART, parent_uuid=SECOND),
)


@pytest.mark.parametrize(
    ("gpu", "uuid"),
    [
        (0, FIRST),
        (1, SECOND),
        ("0000:af:00.0", SECOND),
        (FIRST, FIRST),
        ("GPU-8f1c", FIRST),
        (PART, PART),
        ("MIG-1111", PART),
    ],
)
def test_a_name_leads_to_the_uuid(gpu, uuid):
    assert resolve(gpu, HOST) == uuid


@pytest.mark.parametrize(
    ("gpu", "says"),
    [
        (2, "there is no GPU 2; GPUs that answer: 0 = GPU-8f1c6f0e-0c4e at 0000:3b:00.0; 1 = "),
        ("0000:5e:00.0", "there is no GPU 0000:5e:00.0"),
        ("GPU-8f1", "GPU GPU-8f1 stands for 2 GPUs"),
        ("8f1c", "there is no GPU 8f1c"),
    ],
)
def test_a_gpu_that_is_not_there_is_an_error_that_lists_those_that_are(gpu, says):
    with pytest.raises(UnknownGpu) as error:
        resolve(gpu, HOST)
    assert str(error.value).startswith(says)


def test_without_any_gpu_the_error_says_so():
    with pytest.raises(UnknownGpu, match="GPUs that answer: none"):
        resolve(0, ())


def test_an_index_that_two_hosts_have_is_refused():
    with pytest.raises(UnknownGpu, match="GPU 0 stands for 2 GPUs"):
        resolve(0, (*HOST, GpuReading("GPU-elsewhere", index=0)))


def test_ollamas_are_bound_to_the_parts_of_a_gpu():
    assert [one.uuid for one in bindable(HOST)] == [FIRST, PART]


def test_what_binds_an_ollama_is_a_uuid_where_there_is_one():
    assert bound_by(HOST[0]) == FIRST
    assert bound_by(HOST[2]) == PART
    assert bound_by(GpuReading("0000:03:00.0", index=1)) == 1
