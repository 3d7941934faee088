"""What models take of GPU memory: against what was measured and published (docs/plan.md has the sources)."""

import pytest

from spoe_agent.routing.memory import RUNNER_BYTES, ModelShape, batch_tokens, footprint

MIB = 1 << 20
GB = 10**9

MEASURED = {
    # file, size_vram in GB: Ollama 0.33.0-rc2 on H100, four slots of 4,096 tokens; KV layers x heads x length; buffers
    "1B Q8": (1.17, 1.77, 16 * 8 * 64, 8192, 2048),
    "3B Q8": (3.21, 5.13, 28 * 8 * 128, 8192, 3072),
    "3B F16": (6.03, 7.86, 28 * 8 * 128, 8192, 3072),
    "8B Q4": (4.08, 6.38, 32 * 8 * 128, 14336, 4096),
    "8B Q8": (7.70, 9.94, 32 * 8 * 128, 14336, 4096),
    "8B F16": (14.5, 16.6, 32 * 8 * 128, 14336, 4096),
    "14B Q4": (6.38, 9.21, 40 * 8 * 128, 17408, 5120),
    "14B Q8": (12.0, 14.8, 40 * 8 * 128, 17408, 5120),
    "32B Q4": (17.7, 22.4, 64 * 8 * 128, 25600, 5120),
}
NVML_GB = (0.63, 0.70)
"""More than size_vram, per model."""


def shape(numbers, feed_forward, embedding, **more):
    """`numbers`: KV layers x heads x length; keys and values of two bytes each."""
    return ModelShape(4 * numbers, batch_bytes=4 * (2 * feed_forward + 4 * embedding), **more)


@pytest.mark.parametrize(
    ("file_gb", "vram_gb", "numbers", "feed_forward", "embedding"), MEASURED.values(), ids=MEASURED
)
def test_real_models_on_real_gpus(file_gb, vram_gb, numbers, feed_forward, embedding):
    weights, known = int(file_gb * GB), shape(numbers, feed_forward, embedding)
    by_shape, by_size = footprint(weights, 4096, 4, shape=known), footprint(weights, 4096, 4)
    for found in (by_shape, by_size):
        assert found.shown / GB == pytest.approx(vram_gb, rel=0.10)
        for more in NVML_GB:
            assert found.total / GB == pytest.approx(vram_gb + more, rel=0.10)
    assert by_shape.shown / GB == pytest.approx(vram_gb, rel=0.04)


PUBLISHED = {
    # file in MiB, tokens, shape, what the GPUs had in MiB
    "Llama 3.1 8B": (4941.0 + 344.44, 1024, shape(32 * 8 * 128, 14336, 4096), 4941.0 + 82.0 + 266.5),
    "GLM-Z1 32B": (16303.48 + 471.75, 32768, shape(61 * 2 * 128, 23040, 6144), 16303.48 + 1952.0 + 353.0),
    "GLM-Z1 Rumination 32B": (17284.05 + 499.5, 8192, shape(61 * 8 * 128, 23040, 6144), 17284.05 + 1952.0 + 832.0),
    "Qwen3 30B-A3B": (17787.83 + 315.3, 32768, shape(48 * 4 * 128, 8 * 768, 2048), 17787.83 + 3072.0 + 304.75),
    "Qwen3 32B": (21611.23 + 510.04, 8192, shape(64 * 8 * 128, 25600, 5120), 21611.23 + 2048.0 + 633.5),
    "Gemma 3 27B": (15773.97, 32768, shape(62 * 16 * 128, 21504, 5376), 15773.97 + 15872.0 + 522.62),
    "Command R 35B": (19423.91, 4096, shape(40 * 64 * 128, 22528, 8192), 19423.91 + 5120.0 + 672.01),
    "Llama 3 70B": (40e9 / MIB, 2048, shape(80 * 8 * 128, 28672, 8192), 42e9 / MIB),
    "Qwen2.5 7B": (4.7e9 / MIB, 8192, shape(28 * 4 * 128, 18944, 3584), 5.4e9 / MIB),
    "Mistral Nemo 12B": (7.2e9 / MIB, 2048, shape(40 * 8 * 128, 14336, 5120), 7.5e9 / MIB),
}


@pytest.mark.parametrize(("file_mib", "tokens", "known", "published_mib"), PUBLISHED.values(), ids=PUBLISHED)
def test_known_models_as_published(file_mib, tokens, known, published_mib):
    found = footprint(int(file_mib * MIB), tokens, 1, shape=known)
    assert found.shown / MIB == pytest.approx(published_mib, rel=0.10)


@pytest.mark.parametrize(
    ("tokens", "slots", "mib"),
    [
        (65536, 1, 2304 + 27 + 0),  # gpt-oss-120b, f16: llama.cpp printed 2304 MiB for the 18 whole layers
        (256, 1, 9 + 9),  # a window that is longer than the context takes the context
        (4096, 4, 4 * (144 + 1280 * 36864 / MIB)),
    ],
)
def test_layers_with_a_window_keep_that_much_and_a_batch(tokens, slots, mib):
    gpt_oss = ModelShape(18 * 8 * 64 * 4, 18 * 8 * 64 * 4, 128)
    batch = batch_tokens(tokens * slots)
    windowed = min(tokens, -(-(128 + batch) // 256) * 256)
    exact = slots * (tokens + windowed) * 36864 / MIB
    found = footprint(1, tokens, slots, shape=gpt_oss).cache / MIB
    assert found == pytest.approx(exact)
    assert found == pytest.approx(mib, rel=0.03)


def test_terms():
    known = ModelShape(1000, batch_bytes=10)
    one = footprint(5, 4096, 1, shape=known)
    assert (one.weights, one.cache, one.buffers, one.runner) == (5, 4_096_000, 5120, RUNNER_BYTES)
    assert (one.shown, one.total) == (4_101_125, 4_101_125 + RUNNER_BYTES)
    two = footprint(5, 4096, 1, 34 / 32, known, gpus=2)
    assert (two.cache, two.buffers, two.runner) == (int(4_096_000 * 17 / 32), 10240, 2 * RUNNER_BYTES)


@pytest.mark.parametrize(("tokens", "batch"), [(1, 512), (4096, 512), (4097, 1024), (32768, 1024), (32769, 2048)])
def test_how_much_is_read_at_a_time(tokens, batch):
    assert batch_tokens(tokens) == batch
