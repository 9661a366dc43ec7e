"""A model file behind LitServe, batched as its manual has it: litserve_serving.py PORT MODEL."""

import base64
import sys

import litserve

from lightline_predict import Classifier


# Without types: LitServe would take those of requests and answers for models of pydantic.
class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = Classifier(sys.argv[2])

    def decode_request(self, request):
        return base64.b64decode(request["image"])

    def batch(self, inputs: list) -> list:
        return inputs

    def predict(self, inputs: list) -> list:
        answers = self.model(inputs)
        return [
            (name, bool(accepted), row.tolist())
            for name, accepted, row in zip(answers.classes, answers.accepted, answers.probabilities, strict=True)
        ]

    def unbatch(self, output: list) -> list:
        return output

    def encode_response(self, output):
        name, accepted, row = output
        return {
            "class": name,
            "confidence": max(row),
            "accepted": accepted,
            "probabilities": dict(zip(self.model.classes, row, strict=True)),
        }


if __name__ == "__main__":
    api = Api(max_batch_size=int(sys.argv[3]), batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
