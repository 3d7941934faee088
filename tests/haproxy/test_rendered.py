"""Whether HAProxy's files are what the fleet file gives."""

from spoe_agent.fleet import loads
from spoe_agent.haproxy.render import haproxy_files, write
from spoe_agent.haproxy.rendered import Rendered

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


def test_without_a_folder_nothing_is_known():
    assert Rendered().differing(loads('instances: [{name: gpu0, url: "http://h:1"}]')) == []
