"""Bridge networks through the API."""

import pytest


def test_staff_make_read_use_and_remove_a_network(api):
    made = api.post("networks", json={"name": "api-net", "nat": False})
    assert made.status_code == 201, made.text
    assert made.json()["subnet"].startswith(("10.", "172.")) and made.json()["isolated"]
    box = api.post("containers", json={"name": "in-net", "image": "busybox", "command": ["sleep", "100"], "network": "api-net"})
    try:
        assert box.status_code == 201, box.text
        assert box.json()["networks"] == ["api-net"]
        assert [one["name"] for one in api.get("networks/api-net").json()["containers"]] == ["in-net"]
        refused = api.delete("networks/api-net")
        assert refused.status_code == 409 and "in-net" in refused.json()["error"]["message"]
    finally:
        api.delete(f"containers/{box.json().get('id')}", params={"force": "true"})
        assert api.delete("networks/api-net").status_code == 204
    assert api.get("networks/api-net").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x/y"}, 400), ({"name": "a", "subnet": "8.8.8.0/24"}, 400), ({"name": "a", "subnet": "10.0.0.1/24"}, 400),
        ({"name": "a", "subnet6": "fe80::/64"}, 400), ({"name": "a", "subnet": "10.0.0.0/31"}, 400), ({"name": "default"}, 409),
        ({"name": "a", "engine": "lxc"}, 422), ({"name": "a", "more": 1}, 400),
    ],
)  # fmt: skip
def test_what_is_no_network_is_refused(api, body, status):
    assert api.post("networks", json=body).status_code == status
