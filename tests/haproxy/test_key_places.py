"""Maps of keys on their way to a real HAProxy and into its folder."""

from __future__ import annotations

from pathlib import Path

from spoe_agent.fleet.schema_haproxy import HAProxySettings
from spoe_agent.haproxy.key_maps import KEYS_MAP, key_lines, texts
from spoe_agent.haproxy.key_places import put
from spoe_agent.keys.entry import Key
from tests.haproxy.test_render import on_each_haproxy
from tests.haproxy.test_runtime import running

MANY = key_lines(Key(name=f"k{number}", hash=f"{number:064X}") for number in range(300))
KEYS = {KEYS_MAP: MANY[KEYS_MAP]}


@on_each_haproxy
async def test_all_places_get_all_keys_and_whoever_is_gone_is_gone(binary: str, tmp_path: Path) -> None:
    async with running(binary, tmp_path, KEYS_MAP) as api:
        settings = HAProxySettings(runtime=(api.path,), files=str(tmp_path / "files"))
        (reference,) = await api.maps(KEYS_MAP)
        for count in (300, 299, 0, 1):
            maps = {KEYS_MAP: KEYS[KEYS_MAP][:count]}
            assert await put(settings, maps) == {api.path: "", str(tmp_path / "files"): ""}
            assert sorted(await api.lines(reference)) == maps[KEYS_MAP]
            assert (tmp_path / "files" / KEYS_MAP).read_text() == texts(maps)[KEYS_MAP]


@on_each_haproxy
async def test_each_place_that_fails_is_named_and_the_others_are_served(binary: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with running(binary, tmp_path, "other.map") as api:
        nobody, files = str(tmp_path / "no.sock"), str(tmp_path / "file")
        found = await put(HAProxySettings(runtime=(nobody, api.path), files=files), KEYS)
        assert "No such file" in found[nobody]
        assert found[api.path].startswith(f"it has no map of a file {KEYS_MAP}: render HAProxy's files again")
        assert "File exists" in found[files] or "Not a directory" in found[files]
        files = str(tmp_path / "files")
        assert (await put(HAProxySettings(runtime=(nobody,), files=files), KEYS))[files] == ""
        assert (tmp_path / "files" / KEYS_MAP).exists()
