"""What is said of a parameter that cannot be used."""

import pytest

from tests.support.params import AIRBENCH, FOLDER, K_FOLD, MISSING, MNIST, RESNET18, SGD, changed, complaint

# The change; then the whole sentence about it.
WRONG = [
    # keys
    ({"typo": 1}, "typo = 1 is not a parameter; allowed: seed, data, split, augment, model, optimizer, "),
    ({"optimiser": SGD}, "did you mean optimizer?"),
    ({"trainer__max_epoch": 3}, "trainer.max_epoch = 3 is not a parameter; did you mean trainer.max_epochs?"),
    (
        {"optimizer__momentum": 0.9},
        "optimizer.momentum = 0.9 is not a parameter; allowed: name, lr, layer_decay, layer_decay_no_opt_scale, "
        "betas, eps, weight_decay",
    ),
    (
        {"augment__rand_augment__num_op": 1},
        "augment.rand_augment.num_op = 1 is not a parameter; did you mean augment.rand_augment.num_ops?",
    ),
    ({"trainer__max_epochs": MISSING}, "trainer.max_epochs is missing"),
    ({"optimizer__lr": MISSING}, "optimizer.lr is missing"),
    ({"loss": MISSING}, "loss is missing"),
    ({"optimizer__name": MISSING}, "optimizer.name is missing; choose one of conf/optimizer/"),
    # types
    ({"trainer__max_epochs": "3"}, "trainer.max_epochs = '3' is not allowed; it must be a whole number"),
    ({"trainer__max_epochs": 1.5}, "trainer.max_epochs = 1.5 is not allowed; it must be a whole number"),
    ({"trainer__max_epochs": True}, "trainer.max_epochs = True is not allowed; it must be a whole number"),
    ({"optimizer__lr": "abc"}, "optimizer.lr = 'abc' is not allowed; it must be a number"),
    ({"optimizer__lr": float("nan")}, "optimizer.lr = nan is not allowed; it must be a finite number"),
    ({"optimizer__lr": float("inf")}, "optimizer.lr = inf is not allowed; it must be a finite number"),
    ({"optimizer__betas": 0.9}, "optimizer.betas = 0.9 is not allowed; it must be a list"),
    ({"optimizer__betas": [0.9]}, "optimizer.betas = [0.9] is not allowed; it must have 2 items"),
    (
        {"trainer__limit_val_batches": 0},
        "trainer.limit_val_batches = 0 is not allowed; it must be a number of batches from 1 on, or a share of them, "
        "above 0.0 and at most 1.0, or null: without validation no epoch would be the best",
    ),
    ({"trainer__limit_train_batches": 1.5}, "trainer.limit_train_batches = 1.5 is not allowed; it must be a number of"),
    ({"trainer__overfit_batches": -1}, "trainer.overfit_batches = -1 is not allowed; it must be a number of batches"),
    (
        {"trainer__fast_dev_run": 0.5},
        "trainer.fast_dev_run = 0.5 is not allowed; it must be true, false or a number",
    ),
    ({"trainer__val_check_interval": "00:00:10:00"}, "it must be a number of batches from 1 on, or a share of them"),
    (
        {"trainer__check_val_every_n_epoch": None},
        "trainer.val_check_interval = 1.0 is a share of an epoch, which trainer.check_val_every_n_epoch = None does",
    ),
    (
        {"hardware__profiler": "xla"},
        "hardware.profiler = 'xla' is not allowed; allowed: 'simple', 'advanced' or",
    ),
    ({"trainer__deterministic": "yes"}, "trainer.deterministic = 'yes' is not allowed; it must be true or false"),
    ({"hardware__strategy": None}, "hardware.strategy = None is not allowed; it must be a name that Lightning knows"),
    (
        {"augment__rand_augment": 3},
        "augment.rand_augment = 3 is not allowed; it must be a section with keys of its own",
    ),
    ({"loss": None}, "loss = None is not allowed; it must be a section with keys of its own"),
    (
        {"optimizer": "adamw"},
        "optimizer = 'adamw' is no section; choose one of conf/optimizer/, as in `-S optimizer=NAME`",
    ),
    (
        {"hardware__devices": "all"},
        "hardware.devices = 'all' is not allowed; it must be 'auto', a number from 1 to 1024, or a list of up to 1024 "
        "numbers from 0 to 1023",
    ),
    ({"hardware__devices": [0, "a"]}, "hardware.devices = [0, 'a'] is not allowed; it must be 'auto', a number from"),
    ({"hardware__num_threads": 0}, "hardware.num_threads = 0 is not allowed; it must be 'auto' or a number from 1 to"),
    ({"hardware__num_threads": "all"}, "hardware.num_threads = 'all' is not allowed; it must be 'auto' or a number"),
    # ranges
    ({"trainer__max_epochs": 0}, "trainer.max_epochs = 0 trains nothing; it must be at least 1, or"),
    ({"seed": -1}, "seed = -1 is not allowed; it must be at least 0"),
    ({"seed": 2**32}, "seed = 4294967296 is not allowed; it must be below 4294967296"),
    ({"model__crop_pct": 0}, "model.crop_pct = 0 is not allowed; it must be above 0.0"),
    ({"augment__horizontal_flip": 1.1}, "augment.horizontal_flip = 1.1 is not allowed; it must be at most 1.0"),
    ({"optimizer__betas": [0.9, 1.0]}, "optimizer.betas.1 = 1.0 is not allowed; it must be below 1.0"),
    ({"trainer__ema_decay": 1.0}, "trainer.ema_decay = 1.0 is not allowed; it must be below 1.0"),
    ({"export__opset": 17}, "export.opset = 17 is not allowed; it must be at least 18"),
    ({"split__test": 0.9}, "split.val + split.test = 1.05 leaves nothing to train on; it must be below 1"),
    ({"split": K_FOLD | {"fold": 5}}, "split.fold = 5 does not exist; it is at most split.num_folds - 1 = 4"),
    ({"model__input_size": 8}, "model.input_size = 8 is not allowed; it must be at least 16"),
    # what would take up the machine
    ({"trainer__max_epochs": 10**9}, "trainer.max_epochs = 1000000000 is not allowed; it must be at most 100000"),
    ({"trainer__batch_size": 10**6}, "trainer.batch_size = 1000000 is not allowed; it must be at most 65536"),
    ({"evaluate__batch_size": 10**6}, "evaluate.batch_size = 1000000 is not allowed; it must be at most 65536"),
    ({"evaluate__bootstrap_samples": 10**8}, "evaluate.bootstrap_samples = 100000000 is not allowed; it must be at"),
    ({"evaluate__num_mistakes": 10**4}, "evaluate.num_mistakes = 10000 is not allowed; it must be at most 400"),
    ({"hardware__devices": 10**4}, "hardware.devices = 10000 is not allowed; it must be 'auto', a number from 1 to"),
    ({"hardware__devices": 0}, "hardware.devices = 0 is not allowed; it must be 'auto', a number from 1 to 1024"),
    ({"hardware__devices": []}, "hardware.devices = [] is not allowed; it must be 'auto', a number from 1 to 1024"),
    ({"hardware__devices": [10**4]}, "hardware.devices = [10000] is not allowed; it must be 'auto', a number from 1 "),
    ({"hardware__devices": [7] * 2000}, "7, 7, 7… is not allowed; it must be 'auto', a number from 1 to 1024, or "),
    ({"export__calibration_images": 10**6}, "export.calibration_images = 1000000 is not allowed; it must be at most"),
    (
        {"model": AIRBENCH | {"widths": [64, 64, 10**5]}},
        "model.widths.2 = 100000 is not allowed; it must be at most 8192",
    ),
    ({"model": AIRBENCH | {"depths": [2, 2, 10**5]}}, "model.depths.2 = 100000 is not allowed; it must be at most 3"),
    ({"hardware__num_workers": 10**4}, "hardware.num_workers = 10000 is not allowed; it must be at most 512"),
    ({"augment__random_crop_padding": 10**4}, "augment.random_crop_padding = 10000 is not allowed; it must be at most"),
    ({"optimizer__layer_decay": 1.5}, "optimizer.layer_decay = 1.5 is not allowed; it must be at most 1"),
    (
        {
            "augment__random_crop_padding": 4,
            "augment__random_resized_crop": {"scale": [0.5, 1.0], "ratio": [0.75, 1.33]},
        },
        "augment.random_crop_padding = 4 and augment.random_resized_crop both crop; set one of them to 0 or null",
    ),
    (
        {"augment__random_resized_crop": {"scale": [1.0, 0.5], "ratio": [0.75, 1.33]}},
        "augment.random_resized_crop.scale = [1, 0.5]: the smaller bound comes first",
    ),
    ({"data__max_pixels": 10**12}, "data.max_pixels = 1000000000000 is not allowed; it must be at most 1073741824"),
    ({"data__bit_depth": 17}, "data.bit_depth = 17 is not allowed; it must be 'auto' or a number from 8 to 16"),
    ({"data__bit_depth": "all"}, "data.bit_depth = 'all' is not allowed; it must be 'auto' or a number from 8 to 16"),
    ({"export__limits": "x" * 5000}, "is not allowed; it must have at most 4000 characters"),
    # what would run code or read what is elsewhere
    ({"optimizer___target_": "os.system"}, "optimizer._target_ = 'os.system' is not a parameter; allowed: name, lr, "),
    ({"model___target_": "os.system"}, "model._target_ = 'os.system' is not a parameter; allowed: weights, "),
    ({"model__name": "os.system"}, "model.name = 'os.system' is no known model"),
    (
        {"model__name": "timm/hf-hub:someone/something"},
        "model.name = 'timm/hf-hub:someone/something' is no known model",
    ),
    ({"model__name": "timm/local-dir:/tmp/x"}, "model.name = 'timm/local-dir:/tmp/x' is no known model"),
    ({"hardware__strategy": "os.system"}, "hardware.strategy = 'os.system' is not allowed; it must be a name that Li"),
    # choices
    (
        {"trainer__precision": "32"},
        "trainer.precision = '32' is not allowed; allowed: 'auto', '32-true', 'bf16-mixed' or '16-mixed'",
    ),
    ({"trainer__precision": "bf16-true"}, "trainer.precision = 'bf16-true' is not allowed; allowed: 'auto', '32-true'"),
    ({"trainer__precision": "16-true"}, "trainer.precision = '16-true' is not allowed; allowed: 'auto', '32-true'"),
    ({"trainer__precision": "64-true"}, "trainer.precision = '64-true' is not allowed; allowed: 'auto', '32-true'"),
    ({"trainer__monitor": "loss"}, "trainer.monitor = 'loss' is not allowed; allowed: 'val_accuracy' or 'val_loss'"),
    ({"optimizer__name": "lion"}, "optimizer.name = 'lion' is not allowed; allowed: 'adam', 'adamw', 'sgd', 'muon'"),
    ({"data__source": "imagenet"}, "data.source = 'imagenet' is no known source; allowed: digits, cifar10, "),
    ({"split__strategy": "random"}, "split.strategy = 'random' is not allowed; allowed: 'stratified', 'group', "),
    (
        {"schedule__name": "step"},
        "schedule.name = 'step' is not allowed; allowed: 'constant', 'linear', 'cosine', ",
    ),
    ({"model__name": "resnet19"}, "model.name = 'resnet19' is no known model; did you mean resnet18? allowed: cnn, "),
    (
        {"model__weights": "DEFAULT"},
        "model.weights = 'DEFAULT' names a library's weights, and this network is none of a library's; allowed: null, ",
    ),
    (
        {"model__weights": "https://host/weights.pth"},
        "model.weights_sha256 is missing; what a URL gives is used only if it has the expected SHA-256",
    ),
    (
        {"model__weights": "ftp://host/weights.pth"},
        "model.weights starts with ftp://; allowed: a local path, http://, https:// and s3://",
    ),
    (
        {"model__weights": "http://host/weights.pth", "model__weights_sha256": "0" * 64},
        "model.weights starts with http://, which is not encrypted; take https://, or set data.fetch.allow_http=true",
    ),
    ({"model__normalize": "weights"}, "model.normalize = 'weights' is not allowed; allowed: 'dataset' or 'imagenet'"),
    ({"model__input_size": None}, "model.input_size = None is not allowed; it must be a whole number"),
    (
        {"model": RESNET18 | {"input_size": None}},
        "model.input_size = null means what the weights were trained at, and needs model.normalize = weights",
    ),
    (
        {"model": RESNET18 | {"crop_pct": None}},
        "model.crop_pct = null means what the weights were trained at, and needs model.normalize = weights",
    ),
    ({"model": "resnet18"}, "model = 'resnet18' is no section; choose one of conf/model/, as in `-S model=NAME`"),
    ({"model": AIRBENCH | {"stem": "auto"}}, "model.stem = 'auto' is not a parameter; allowed: weights, "),
    ({"model": AIRBENCH | {"width": [1, 1, 1]}}, "model.width = [1, 1, 1] is not a parameter; did you mean model.wi"),
    # what does not go together
    (
        {"optimizer": SGD | {"momentum": 0.0}},
        "optimizer.nesterov = True needs optimizer.momentum above 0; it must be False without",
    ),
    ({"data": FOLDER | {"path": "https://example.com/a.zip"}}, "data.sha256 is missing; "),
    (
        {"data": FOLDER | {"path": "ftp://example.com/a.zip"}},
        "data.path starts with ftp://; allowed: a local path, http",
    ),
    (
        {"data": FOLDER | {"path": "http://example.com/a.zip", "sha256": "0" * 64}},
        "data.path starts with http://, which is not encrypted; take https://, or set data.fetch.allow_http=true",
    ),
    ({"data": MNIST | {"mirror": "http://a"}}, "data.mirror starts with http://, which is not encrypted; take https"),
    ({"data": MNIST | {"checksums": {"a.gz": "../../a"}}}, "data.checksums.a.gz = '../../a' is not allowed; it must"),
    ({"data": FOLDER | {"sha256": "abc"}}, "data.sha256 = 'abc' is not allowed; it must be 64 hexadecimal digits, as"),
    (
        {"data": MNIST | {"mirror": "ftp://a"}},
        "data.mirror = 'ftp://a' is not allowed; it must be an http://, https:// o",
    ),
    ({"checkpoint__store": "gs://a/b"}, "checkpoint.store = 'gs://a/b' is not allowed; it must be a path, s3://BUCKET"),
    ({"hardware__master_addr": "a b"}, "hardware.master_addr = 'a b' is not allowed; it must be a host's name or"),
    ({"data": MNIST | {"checksums": {"a.gz": 1}}}, "data.checksums.a.gz = 1 is not allowed; it must be a text"),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG, ids=[",".join(changes) for changes, _ in WRONG])
def test_a_wrong_parameter_is_named_with_its_value_and_what_is_allowed(changes, sentence):
    message = complaint(changed(**changes))
    assert sentence in message.splitlines()[1]
    assert message.startswith("params.yaml holds 1 parameter that cannot be used:\n")
    assert len(message.splitlines()) == 3
    assert "conf/" in message.splitlines()[-1]
