"""What can only a GPU show?

`python -m benchmarks.gpu` on a machine with one, on CIFAR-10 (JPEG) or on made-up images; a part a process, in the
precision that `auto` takes unless the line says another. Speed: `recipe=fast_cifar`, seconds of training with its
validations, the GPU's work waited for, decoding and warm-up on neither side; the loop by hand has the same network,
images, optimizer, steps and arithmetic. Training goes on from a SIGKILL in the middle of an epoch. The gate holds the
model file, which answers on the CPU, to the logits that `test` computed on the GPU.
"""
