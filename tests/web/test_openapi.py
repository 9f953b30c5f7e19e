"""The document is made from the route table; these tests hold table, URL conf and real answers together."""

import re

import msgspec
from django.urls import get_resolver

from containers_app import openapi
from containers_app.api import ROUTES

SPEC = {"name": "web-1", "image": "busybox", "command": ["sleep", "1000"]}


async def test_the_document_is_served_to_who_is_logged_in(as_otto, worker):
    answer = await as_otto.get("/openapi.json")
    assert answer.body["openapi"] == "3.1.0"
    assert answer.body == msgspec.json.decode(msgspec.json.encode(openapi.document()))


def test_url_conf_and_document_have_the_same_paths():
    conf = {
        "/" + re.sub(r"<(?:str|path):(\w+)>", r"{\1}", str(pattern.pattern))
        for pattern in get_resolver().url_patterns
        if str(pattern.pattern).startswith("api/v1/")
    }
    assert conf - {"/api/v1/openapi.json"} == set(openapi.document()["paths"])


def test_every_operation_has_a_name_of_its_own():
    names = [operation["operationId"] for path in openapi.document()["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names)) == len(ROUTES)


def test_every_reference_leads_somewhere():
    text = msgspec.json.encode(openapi.document()).decode()
    known = set(openapi.document()["components"]["schemas"])
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) <= known


# what needs the raw engine; tests/sources/test_custom_root.py has it
OF_REAL_IMAGES = (
    "/networks/{name}", "/images/{image}", "/images/{name}/export", "/containers/{id}/export", "/jobs/{id}",
)  # fmt: skip


async def test_real_answers_are_of_the_documented_types(as_staff, worker):
    """Every GET of the table, on a running container; unknown fields count as drift too."""
    await as_staff.post("/containers", SPEC)
    await as_staff.post("/groups", {"name": "team"})
    for route in ROUTES:
        if route.method == "GET" and route.path not in (*OF_REAL_IMAGES, "/networks/{name}"):
            answer = await as_staff.get(route.path.replace("{id}", "web-1").replace("/groups/{name}", "/groups/team"))
            assert answer.status == 200, (route.path, answer.body)
            typed = msgspec.convert(answer.body, route.result)
            again = msgspec.to_builtins(typed)
            if isinstance(again, dict) and route.path not in ("/namespaces",):
                assert set(answer.body) <= set(again), route.path
