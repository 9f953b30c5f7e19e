"""/api/v1/images, the files of sandboxes, and the jobs that such work is.

An upload comes in pieces: POST /images with a source {"type": "tar"} (or "oci") answers with a job, to which the bytes are
sent by PUT /jobs/{id}/data?offset=N, the last piece with last=true. In pieces, because the web server keeps a request's whole
body in memory; a piece whose answer was lost may be sent again. While the job waits for its turn, the answer is 409 "waiting",
and the piece is sent again.
"""

from __future__ import annotations

from .. import docker_services
from .. import image_services as services
from ..responses import Download
from ..spec import ImportSpec, parse_import
from ..worker.protocol import Job
from . import shapes
from .containers import ID, within
from .route import Call, Route


async def list_images(call: Call) -> object:
    return {"items": await services.list_images(call.visitor), "next": None}


async def get_image(call: Call) -> object:
    return await services.get_image(call.visitor, call.path["image"])


async def import_image(call: Call) -> object:
    return await services.import_image(call.visitor, call.body)


async def remove_image(call: Call) -> object:
    query: shapes.RemoveImageQuery = call.query
    if query.engine == "raw":
        await services.remove_image(call.visitor, call.path["image"])
    else:
        await docker_services.remove_image(call.visitor, query.engine, call.path["image"], query.force)
    return None


async def export_image(call: Call) -> object:
    name = call.path["name"]
    return Download(await services.export_image(call.visitor, name), f"{name.replace(':', '_')}.tar")


async def clone_container(call: Call) -> object:
    return await services.clone_container(call.visitor, call.path["id"], call.body.name)


async def commit_container(call: Call) -> object:
    return await services.commit_container(call.visitor, call.path["id"], call.body.image)


async def export_container(call: Call) -> object:
    name, tar = await services.export_container(call.visitor, call.path["id"])
    return Download(tar, f"{name}.tar")


async def list_jobs(call: Call) -> object:
    return {"items": await services.list_jobs(call.visitor), "next": None}


async def get_job(call: Call) -> object:
    return await services.get_job(call.visitor, call.path["id"])


async def feed_job(call: Call) -> object:
    offset = within(call.query.offset, 0, "offset")
    return await services.feed_job(call.visitor, call.path["id"], offset, call.body, call.query.last)


async def cancel_job(call: Call) -> object:
    return await services.cancel_job(call.visitor, call.path["id"])


ROUTES = (
    Route("GET", "/images", list_images, "List images", shapes.Images, tag="images"),
    Route("POST", "/images", import_image, "Import an image", Job, ImportSpec, status=202, parse=parse_import, tag="images"),
    Route("GET", "/images/{name}/export", export_image, "Download its files as a tar", bytes, tag="images"),
    # after the paths below it: the name of a Docker image may have slashes
    Route("GET", "/images/{image}", get_image, "Read a sandbox image", shapes.Image, tag="images"),
    Route("DELETE", "/images/{image}", remove_image, "Remove an image", query=shapes.RemoveImageQuery, status=204, tag="images"),
    Route("POST", ID + "/clone", clone_container, "Copy a sandbox", Job, shapes.CloneBody, status=202, tag="images"),
    Route(
        "POST", ID + "/commit", commit_container, "Make an image of its files", Job, shapes.CommitBody, status=202, tag="images"
    ),
    Route("GET", ID + "/export", export_container, "Download its files as a tar", bytes, tag="images"),
    Route("GET", "/jobs", list_jobs, "List jobs, newest first", shapes.Jobs, tag="images"),
    Route("GET", "/jobs/{id}", get_job, "Read a job", Job, tag="images"),
    Route("PUT", "/jobs/{id}/data", feed_job, "Send a piece of an upload", Job, bytes, query=shapes.PieceQuery, tag="images"),
    Route("POST", "/jobs/{id}/cancel", cancel_job, "Cancel a job", Job, shapes.NoBody, tag="images"),
)
