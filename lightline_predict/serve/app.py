"""The addresses that the server answers at."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, Router

from lightline_predict import __version__
from lightline_predict.images import UnusableImageError
from lightline_predict.serve import v2
from lightline_predict.serve.bodies import Pictures, pictures_in
from lightline_predict.serve.gate import Gate
from lightline_predict.serve.limits import Refused, Share, read_body
from lightline_predict.serve.metrics import CONTENT_TYPE
from lightline_predict.serve.models import Loaded
from lightline_predict.serve.options import Options
from lightline_predict.serve.reload import Current
from lightline_predict.serve.service import Service, ended, said

if TYPE_CHECKING:
    from lightline_predict.serve.request_log import RequestLog

_LARGE = 2**17  # bytes of JSON that are read in a thread, so that others need not wait


def make_app(options: Options, current: Current, log: "RequestLog | None", told: Callable[[Service], None]) -> Gate:
    """Make the application; told: handed the service once its event loop runs."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[dict[str, Service]]:
        service = Service(options, current, log)
        told(service)
        async with service.working():
            yield {"service": service}

    model = "/v2/models/{name}"
    version = model + "/versions/{version}"
    routes = [
        Route("/predict", predict, methods=["POST"]),
        Route(f"{model}/infer", infer, methods=["POST"]),
        Route(f"{version}/infer", infer, methods=["POST"]),
        Route("/", page),
        Route("/metrics", metrics),
        *(Route(prefix + "/health/live", live) for prefix in ("", "/v2")),
        *(Route(prefix + "/health/ready", ready) for prefix in ("", "/v2")),
        Route("/v2", v2_server),
        *(Route(prefix, v2_model) for prefix in (model, version)),
        *(Route(f"{prefix}/ready", v2_ready) for prefix in (model, version)),
    ]
    return Gate(Router(routes, redirect_slashes=False, lifespan=lifespan), options.token)


async def predict(request: Request) -> Response:
    """Answer for the images in the body: one answer, or a list."""

    async def answered(body: bytes, share: Share) -> Any:
        service: Service = request.state.service
        kind = request.headers.get("content-type", "")
        pictures = await _apart(pictures_in, kind, body, service.options.limits.images)
        model = service.current.model
        if len(pictures.encoded) == 1:
            answers = [await _one(service, model, pictures, 0, share)]
        else:
            tasks: list[asyncio.Task] = []
            async with ended(tasks):
                numbers = range(len(pictures.encoded))
                tasks += [asyncio.create_task(_one(service, model, pictures, number, share)) for number in numbers]
                answers = [await task for task in tasks]
        return answers if pictures.many else answers[0]

    return await _within_limits(request, answered)


async def infer(request: Request) -> Response:
    """Answer an infer request of the Open Inference Protocol."""

    async def answered(body: bytes, share: Share) -> Any:
        service: Service = request.state.service
        model = _named(request)
        length = request.headers.get("inference-header-content-length")
        asked = await _apart(v2.read, body, length, service.options.limits, model.outputs)
        share.take(asked.pixels.nbytes)
        tasks: list[asyncio.Task] = []
        async with ended(tasks):
            tasks += [asyncio.create_task(service.answer(model, pixels)) for pixels in asked.pixels]
            return v2.answer(service.options.name, model, asked, [await task for task in tasks])

    return await _within_limits(request, answered)


async def page(_: Request) -> Response:
    """Show the page on which one drops a picture."""
    return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})


async def live(_: Request) -> Response:
    """Say that the process answers."""
    return JSONResponse({"live": True})


async def ready(request: Request) -> Response:
    """Say whether requests are wanted: not any more where the server was told to end."""
    is_ready = not request.state.service.draining
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


async def metrics(request: Request) -> Response:
    """Tell the metrics, as Prometheus reads them."""
    return Response(request.state.service.metrics.text(), headers={"content-type": CONTENT_TYPE})


async def v2_server(_: Request) -> Response:
    """Describe the server, as the Open Inference Protocol asks."""
    return JSONResponse({"name": "lightline-predict", "version": __version__, "extensions": ["binary_tensor_data"]})


async def v2_model(request: Request) -> Response:
    """Describe the model, as the Open Inference Protocol asks."""
    return JSONResponse(v2.metadata(request.path_params["name"], _named(request)))


async def v2_ready(request: Request) -> Response:
    """Say whether the model answers, as the Open Inference Protocol asks."""
    _named(request)
    return JSONResponse({"name": request.path_params["name"], "ready": True})


async def _within_limits(request: Request, answered: Callable[[bytes, Share], Awaitable[Any]]) -> Response:
    service: Service = request.state.service
    seconds, complete = service.options.limits.seconds, False
    with service.admission.enter() as share:
        try:
            async with asyncio.timeout(seconds):
                body = await read_body(request, share)
                complete = True
                return JSONResponse(await answered(body, share))
        except TimeoutError:
            if complete:
                raise Refused(503, f"It took longer than {seconds:g} s (--timeout): the server is too busy.") from None
            why = f"The body took longer than {seconds:g} s (--timeout) to arrive."
            raise Refused(408, why, connection="close") from None


async def _one(service: Service, model: Loaded, pictures: Pictures, number: int, share: Share) -> dict[str, Any]:
    try:
        return said(model, await service.classify(model, pictures.encoded[number], share))
    except UnusableImageError as error:
        raise Refused(422, f"{pictures.names[number]} cannot be used: {error}.") from None


async def _apart(read: Callable[..., Any], *given: Any) -> Any:
    """Read a body, in a thread where it is long."""
    if max(len(one) for one in given if isinstance(one, bytes)) > _LARGE:
        return await asyncio.to_thread(read, *given)
    return read(*given)


def _named(request: Request) -> Loaded:
    service: Service = request.state.service
    name, version = request.path_params["name"], request.path_params.get("version")
    model = service.current.model
    if name != service.options.name or version not in (None, model.fingerprint):
        here = f"{service.options.name}, version {model.fingerprint}"
        raise Refused(404, f"There is no model {name[:100]} {(version or '')[:100]}; there is {here}.")
    return model


def _digest(kind: str) -> str:
    """Give the digest of the page's one style or script, by which its policy allows it and no other."""
    inside = re.search(f"<{kind}>(.*?)</{kind}>", _PAGE, re.DOTALL)
    assert inside is not None
    return base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()


_PAGE = files("lightline_predict.serve").joinpath("page.html").read_text(encoding="utf-8")
_POLICY = (
    f"default-src 'none'; script-src 'sha256-{_digest('script')}'; style-src 'sha256-{_digest('style')}'; "
    "img-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
