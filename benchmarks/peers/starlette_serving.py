"""A model file behind plain starlette, an image a run, as one would write it: starlette_serving.py PORT MODEL."""

import asyncio
import base64
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from lightline_predict import Classifier

model = Classifier(sys.argv[2])


def answer(encoded: bytes) -> dict:
    answers = model(encoded)
    return {
        "class": answers.classes[0],
        "confidence": float(answers.probabilities[0].max()),
        "accepted": bool(answers.accepted[0]),
        "probabilities": dict(zip(model.classes, answers.probabilities[0].tolist(), strict=True)),
    }


async def predict(request: Request) -> JSONResponse:
    return JSONResponse(await asyncio.to_thread(answer, base64.b64decode((await request.json())["image"])))


if __name__ == "__main__":
    app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
