"""Whether HAProxy's files are what the fleet file gives."""

from spoe_agent.fleet import loads
from spoe_agent.haproxy.render import haproxy_files, write
from spoe_agent.haproxy.rendered import Rendered
from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import change

TEXT = 'instances: [{{name: gpu0, url: "http://h:{port}"}}]\nhaproxy: {{files: {folder}}}\n'


def test_files_are_compared_by_their_content(tmp_path):
    folder, rendered = tmp_path / "haproxy", Rendered()
    fleet = loads(TEXT.format(port=1, folder=folder))
    assert set(rendered.differing(fleet)) == set(haproxy_files(fleet))
    write(haproxy_files(fleet), folder)
    assert rendered.differing(fleet) == []
    assert rendered.differing(loads(TEXT.format(port=2, folder=folder))) == ["haproxy.cfg"]
    (folder / "origins.lst").write_bytes(b"\xff")
    assert rendered.differing(fleet) == ["origins.lst"]


def test_whichever_keys_there_are_and_whoever_may_read_them(tmp_path):
    folder, keys = tmp_path / "haproxy", tmp_path / "keys.json"
    change(keys, lambda _: (Key(name="a", hash=hash_of("s")),))
    fleet = loads(TEXT.format(port=1, folder=folder) + f"keys: {{file: {keys}}}\n")
    write(haproxy_files(fleet), folder)
    keys.write_text("damaged")
    assert Rendered().differing(fleet) == []


def test_without_a_folder_nothing_is_known():
    assert Rendered().differing(loads('instances: [{name: gpu0, url: "http://h:1"}]')) == []
