"""Downloads of files: whoever leaves at whatever moment, nothing is left open, and each user has a share."""

import asyncio
import os
import select

import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import OperationalError

from containers_app import audits, image_services, shares
from containers_app.engines.base import Archive
from containers_app.models import ApiToken, AuditEntry
from containers_app.responses import Download, answer
from containers_app.visitors import Visitor
from panel.handler import Handler

from .test_handler import asked

PATH = "/api/v1/containers/web-1/export"


class Exporter:
    """The worker's end of each export: a pipe that nothing is written to until ``end``."""

    def __init__(self):
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.let.set()
        self.ends = []

    async def __call__(self, container_id):
        self.asked.set()
        await self.let.wait()
        reading, writing = os.pipe()
        self.ends.append(writing)
        return Archive(reading)

    def end(self, number, content=b""):
        os.write(self.ends[number], content)
        os.close(self.ends[number])
        self.ends[number] = -1

    async def until_nobody_reads(self):
        watch = select.poll()
        for end in self.ends:
            watch.register(end, select.POLLERR)
        async with asyncio.timeout(30):
            while len(watch.poll(0)) < len(self.ends):
                await asyncio.sleep(0.01)


@pytest.fixture
async def exporter(worker, monkeypatch):
    found = Exporter()
    worker.engine.add("web-1", owner="olga")
    monkeypatch.setattr(worker.engine, "export_container", found, raising=False)
    yield found
    for end in found.ends:
        if end >= 0:
            os.close(end)


@pytest.fixture
def token(olga):
    return ApiToken.issue(olga, "test")[1]


@pytest.fixture
def other(staff):
    return ApiToken.issue(staff, "test")[1]


async def begun(token):
    line = ApplicationCommunicator(Handler(), asked(PATH, token))
    await line.send_input({"type": "http.request", "body": b""})
    return line


async def left(line):
    await line.send_input({"type": "http.disconnect"})
    await asyncio.wait([line.future], timeout=30)


async def actions():
    return [entry.action async for entry in AuditEntry.objects.all()]


async def test_a_download_is_read_to_its_end(token, exporter):
    line = await begun(token)
    assert (await line.receive_output(30))["status"] == 200
    exporter.end(0, b"a tar")
    assert (await line.receive_output(30))["body"] == b"a tar"
    while (await line.receive_output(30)).get("more_body"):
        pass
    await line.wait(30)
    async with asyncio.timeout(30):
        while shares.exports._taken:
            await asyncio.sleep(0.005)
    assert await actions() == ["export"]


async def test_who_leaves_before_the_worker_has_answered_leaves_nothing_open(token, exporter):
    exporter.let.clear()
    line = await begun(token)
    await asyncio.wait_for(exporter.asked.wait(), 30)
    await left(line)
    assert shares.exports._taken.total() == 1  # it goes on in the worker
    acts = set(audits._acts)
    exporter.let.set()
    await asyncio.wait(acts, timeout=30)
    del acts
    await exporter.until_nobody_reads()
    assert not shares.exports._taken and await actions() == ["export"]


async def test_who_leaves_in_the_midst_leaves_nothing_open(token, exporter):
    line = await begun(token)
    await line.receive_output(30)
    await left(line)
    await exporter.until_nobody_reads()
    assert not shares.exports._taken


async def test_what_the_log_does_not_take_leaves_nothing_open(token, exporter, monkeypatch):
    def full(*_):
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(audits, "_store", full)
    line = await begun(token)
    assert (await line.receive_output(30))["status"] == 500
    monkeypatch.undo()
    await exporter.until_nobody_reads()
    assert not shares.exports._taken


async def test_an_answer_that_is_never_begun_leaves_nothing_open(exporter):
    visitor = Visitor(1, "olga", is_staff=False)
    shares.exports.take(visitor)
    response = answer(Download(image_services.Tar((await exporter("")).fd, visitor), "web-1.tar"))
    response.close()
    del response
    await exporter.until_nobody_reads()
    assert not shares.exports._taken


async def test_each_user_has_so_many_at_once_and_no_more(token, other, as_olga, exporter):
    lines = [await begun(token) for _ in range(3)]
    for line in lines:
        assert (await line.receive_output(30))["status"] == 200
    refused = await as_olga.get("/containers/web-1/export")
    assert (refused.status, refused.code) == (409, "too_many")
    lines.append(await begun(other))
    assert (await lines[-1].receive_output(30))["status"] == 200
    for line in lines:
        await left(line)
    await exporter.until_nobody_reads()
    assert not shares.exports._taken
