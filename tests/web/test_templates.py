"""Templates and presets over the API: kept, refused, used on many, each with an outcome of its own."""

import pytest

from containers_app.models import AuditEntry

SPEC = {"image": "busybox", "command": ["sleep", "1000"], "limits": {"memory": "64M"}}


async def test_a_template_is_kept_used_and_removed(as_staff, worker):
    call = as_staff
    assert (await call.post("/templates", {"name": "quiet", "spec": SPEC, "description": "sleeps"})).status == 201
    assert {"name": "quiet", "description": "sleeps", "spec": SPEC} in (await call.get("/templates")).body["items"]
    made = (await call.post("/templates/quiet/create", {"prefix": "box", "count": 3})).body["items"]
    assert [(one["target"], one["done"]) for one in made] == [("box-1", True), ("box-2", True), ("box-3", True)]
    assert {"box-1", "box-2", "box-3"} <= {one["name"] for one in (await call.get("/containers")).body["items"]}
    assert (await call.delete("/templates/quiet")).status == 204
    assert (await call.delete("/templates/quiet")).status == 404


async def test_a_name_that_is_taken_spoils_only_its_own_container(as_staff, worker):
    call = as_staff
    worker.engine.add("box-2")
    await call.post("/templates", {"name": "quiet", "spec": SPEC})
    made = (await call.post("/templates/quiet/create", {"prefix": "box", "count": 3})).body["items"]
    assert [one["done"] for one in made] == [True, False, True]
    assert made[1]["code"] == "name_taken"


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a b", "spec": SPEC},
        {"name": "x" * 41, "spec": SPEC},
        {"name": "named", "spec": {**SPEC, "name": "web"}},
        {"name": "odd", "spec": {"image": "../etc"}},
        {"name": "odd", "spec": {"colour": "green"}},
        {"name": "odd", "spec": []},
    ],
)
async def test_a_template_that_could_make_nothing_is_refused(as_staff, worker, body):
    call = as_staff
    answer = await call.post("/templates", body)
    assert answer.status == 400, answer.body
    assert body["name"] not in {one["name"] for one in (await call.get("/templates")).body["items"]}


@pytest.mark.parametrize("limits", [{}, {"memory": "-1"}, {"speed": 3}, {"cpu": "NaN"}])
async def test_a_preset_that_sets_nothing_right_is_refused(as_staff, worker, limits):
    assert (await as_staff.post("/presets", {"name": "odd", "limits": limits})).status == 400


async def test_a_preset_is_set_on_each_and_its_refusal_is_each_ones_own(as_staff, worker):
    call = as_staff
    one = worker.engine.add("web-1", owner="staff")
    await call.post("/presets", {"name": "little", "limits": {"pids": 7}})
    outcomes = (await call.post("/presets/little/apply", {"containers": [one.id, "nobody"]})).body["items"]
    assert [(outcome["done"], outcome["code"]) for outcome in outcomes] == [(True, ""), (False, "not_found")]
    assert (await call.get(f"/containers/{one.id}/limits")).body["pids"]["requested"] == 7


async def test_one_act_on_many_has_an_outcome_for_each(as_staff, worker):
    call = as_staff
    for name in ("web-1", "web-2"):
        await call.post("/containers", {"name": name, "command": ["sleep", "1000"]})
    outcomes = (await call.post("/many/stop", {"containers": ["web-1", "web-2", "web-3"]})).body["items"]
    assert [outcome["done"] for outcome in outcomes] == [True, True, False]
    assert (await call.post("/many/explode", {"containers": ["web-1"]})).status == 400
    assert (await call.post("/many/stop", {"containers": []})).status == 400


async def test_only_staff_keeps_templates_and_only_owners_act(as_olga, worker):
    call = as_olga
    theirs = worker.engine.add("staffs", owner="staff")
    assert (await call.post("/templates", {"name": "quiet", "spec": SPEC})).status == 403
    assert (await call.post("/presets", {"name": "quiet", "limits": {"pids": 7}})).status == 403
    outcomes = (await call.post("/many/remove", {"containers": ["staffs"]})).body["items"]
    assert outcomes[0]["code"] == "not_found"
    assert worker.engine.get(theirs.id) == theirs


async def test_acts_on_many_are_audited_one_by_one(as_staff, worker):
    for name in ("web-1", "web-2"):
        await as_staff.post("/containers", {"name": name, "command": ["sleep", "1000"]})
    await as_staff.post("/many/stop", {"containers": ["web-1", "web-2"]})
    assert await AuditEntry.objects.filter(action="stop", username="staff").acount() == 2
