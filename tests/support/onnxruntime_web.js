// Answers from a model file in onnxruntime-web: node onnxruntime_web.js model.onnx < images.json > logits.json
// images: [{shape: [batch, height, width, 3], data: base64 of uint8}, …]; logits: [[batch × classes numbers], …]
const ort = require("onnxruntime-web");

async function main() {
  ort.env.wasm.numThreads = 1;
  const images = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const session = await ort.InferenceSession.create(process.argv[2], { executionProviders: ["wasm"] });
  const answers = [];
  for (const { shape, data } of images) {
    const image = new ort.Tensor("uint8", new Uint8Array(Buffer.from(data, "base64")), shape);
    const { logits } = await session.run({ image });
    answers.push(Array.from(logits.data));
  }
  console.log(JSON.stringify(answers));
}

main();
