"""The networks against the documented tables, row by row, numbers literal."""

import json
import math
import pathlib
import subprocess
import sys
import zipfile

import helpers
import keras
import numpy as np
import pytest

from mnistpipe import recipes
from mnistpipe.errors import UserError
from mnistpipe.networks import architectures, models, table
from mnistpipe.networks.networkfile import ModelError
from mnistpipe.recipes import documented

CONV, NORM, RELU = "Conv2D", "BatchNormalization", "Activation"
POOL, DROP, DENSE = "MaxPooling2D", "Dropout", "Dense"

# kind, output shape, parameters, multiply-adds
STRIDED400K = [
    (CONV, (26, 26, 32), 128, 26 * 26 * 4 * 32),
    (NORM, (26, 26, 32), 128, 0),
    (CONV, (24, 24, 32), 9216, 24 * 24 * 9 * 32 * 32),
    (NORM, (24, 24, 32), 128, 0),
    (CONV, (12, 12, 32), 25632, 12 * 12 * 25 * 32 * 32),
    (DROP, (12, 12, 32), 0, 0),
    (CONV, (10, 10, 64), 18432, 10 * 10 * 9 * 32 * 64),
    (NORM, (10, 10, 64), 256, 0),
    (CONV, (8, 8, 64), 36864, 8 * 8 * 9 * 64 * 64),
    (NORM, (8, 8, 64), 256, 0),
    (CONV, (4, 4, 64), 102464, 4 * 4 * 25 * 64 * 64),
    (DROP, (4, 4, 64), 0, 0),
    (CONV, (2, 2, 128), 204928, 2 * 2 * 25 * 64 * 128),
    ("Flatten", (512,), 0, 0),
    (DENSE, (10,), 5130, 5120),
]
POOL2M = [
    (CONV, (28, 28, 32), 320, 28 * 28 * 9 * 32),
    (NORM, (28, 28, 32), 128, 0),
    (RELU, (28, 28, 32), 0, 0),
    (CONV, (28, 28, 32), 9248, 28 * 28 * 9 * 32 * 32),
    (NORM, (28, 28, 32), 128, 0),
    (RELU, (28, 28, 32), 0, 0),
    (POOL, (14, 14, 32), 0, 0),
    (DROP, (14, 14, 32), 0, 0),
    (CONV, (14, 14, 64), 18496, 14 * 14 * 9 * 32 * 64),
    (NORM, (14, 14, 64), 256, 0),
    (RELU, (14, 14, 64), 0, 0),
    (CONV, (14, 14, 64), 36928, 14 * 14 * 9 * 64 * 64),
    (NORM, (14, 14, 64), 256, 0),
    (RELU, (14, 14, 64), 0, 0),
    (POOL, (7, 7, 64), 0, 0),
    (DROP, (7, 7, 64), 0, 0),
    ("Flatten", (3136,), 0, 0),
    (DENSE, (512,), 1606144, 3136 * 512),
    (NORM, (512,), 2048, 0),
    (RELU, (512,), 0, 0),
    (DROP, (512,), 0, 0),
    (DENSE, (1024,), 525312, 512 * 1024),
    (NORM, (1024,), 4096, 0),
    (RELU, (1024,), 0, 0),
    (DROP, (1024,), 0, 0),
    (DENSE, (10,), 10250, 10240),
]
WIDE900K = [
    (CONV, (28, 28, 32), 832, 28 * 28 * 25 * 32),
    (CONV, (28, 28, 32), 25632, 28 * 28 * 25 * 32 * 32),
    (POOL, (14, 14, 32), 0, 0),
    (DROP, (14, 14, 32), 0, 0),
    (CONV, (14, 14, 64), 18496, 14 * 14 * 9 * 32 * 64),
    (CONV, (14, 14, 64), 36928, 14 * 14 * 9 * 64 * 64),
    (POOL, (7, 7, 64), 0, 0),
    (DROP, (7, 7, 64), 0, 0),
    ("Flatten", (3136,), 0, 0),
    (DENSE, (256,), 803072, 3136 * 256),
    (DROP, (256,), 0, 0),
    (DENSE, (10,), 2570, 2560),
]
ROWS = {"strided400k": STRIDED400K, "pool2m": POOL2M, "wide900k": WIDE900K}
PARAMETERS = {
    "strided400k": (403_562, 384),
    "pool2m": (2_213_610, 3_456),
    "compact500k": (386_474, 1_056),
    "wide900k": (887_530, 0),
    "quick65k": (64_794, 320),
}
ARCHS = list(PARAMETERS)
SMALLEST = {
    "strided400k": 13,
    "pool2m": 4,
    "compact500k": 4,
    "wide900k": 4,
    "quick65k": 16,
}
RECIPE_3X3 = recipes.RECIPES["strided400k"].replace(stem="3x3")


def pictures(shape, n=3, seed=20240607):
    return np.random.default_rng(seed).random((n, *shape), np.float32)


def dropout_rates(model):
    return [x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)]


def multiply_adds(layer):
    """Counts those of a built Keras layer, by its kernel and its output."""
    if isinstance(layer, keras.layers.Conv2D):
        return math.prod((*layer.output.shape[1:3], *layer.kernel.shape))
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape)
    return 0


def non_trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.non_trainable_weights)


def test_the_archs_are_those_of_the_recipes():
    assert list(architectures.ARCHITECTURES) == ARCHS == list(recipes.ARCHS)
    assert list(documented.TABLES) == ARCHS


@pytest.mark.parametrize("arch", ROWS)
def test_row_by_row(arch):
    first, *rest = models.build(recipes.recipe_for(arch)).layers
    assert isinstance(first, keras.layers.InputLayer)
    built = [
        (
            type(layer).__name__,
            tuple(layer.output.shape[1:]),
            layer.count_params(),
            multiply_adds(layer),
        )
        for layer in rest
    ]
    assert built == ROWS[arch]
    described = [
        (one.layer.kind, one.shape, one.parameters, one.multiply_adds)
        for one in architectures.infer_shapes(recipes.recipe_for(arch))
    ]
    assert described == ROWS[arch]


@pytest.mark.parametrize("arch", ARCHS)
def test_totals(arch):
    model = helpers.network(arch)
    total, fixed = PARAMETERS[arch]
    assert model.count_params() == total
    assert non_trainable(model) == fixed


def test_documented_tables_are_the_documents():
    for arch, end in [("strided400k", 15), ("wide900k", 9)]:
        printed = [row[:3] for row in ROWS[arch][:end]]
        assert list(documented.TABLES[arch].rows) == printed
    assert [t.parameters for t in documented.TABLES.values()] == [
        403_562,
        2_213_610,
        500_000,
        887_530,
        64_794,
    ]


def test_compact500k_keeps_its_budget():
    shaped = architectures.infer_shapes(recipes.recipe_for("compact500k"))
    assert sum(one.parameters for one in shaped) <= 500_000
    assert sum(one.multiply_adds for one in shaped) == 42_676_288
    assert "386,474 parameters" in architectures.compact500k.__doc__


# Output shape and parameters of wide900k's weighted layers.
WIDTHS = {
    0.5: [
        ((28, 28, 16), 25 * 16 + 16),
        ((28, 28, 16), 25 * 16 * 16 + 16),
        ((14, 14, 32), 9 * 16 * 32 + 32),
        ((14, 14, 32), 9 * 32 * 32 + 32),
        ((128,), 7 * 7 * 32 * 128 + 128),
        ((10,), 128 * 10 + 10),
    ],
    2: [
        ((28, 28, 64), 25 * 64 + 64),
        ((28, 28, 64), 25 * 64 * 64 + 64),
        ((14, 14, 128), 9 * 64 * 128 + 128),
        ((14, 14, 128), 9 * 128 * 128 + 128),
        ((512,), 7 * 7 * 128 * 512 + 512),
        ((10,), 512 * 10 + 10),
    ],
}


@pytest.mark.parametrize("width", WIDTHS)
def test_width_scales_every_layer_but_the_output(width):
    built = [
        (models.output_shape(layer), layer.count_params())
        for layer in helpers.network("wide900k", width=width).layers
        if layer.count_params()
    ]
    assert built == WIDTHS[width]


def test_widths_are_multiples_of_8_and_never_less():
    # 32, 48, 80, 80, 128 and 160, by 0.27: 8.64, 12.96, 21.6, 34.56, 43.2; by
    # 1.125: 36 and 180, which are in the middle and go up, 54, 90, 144.
    for width, expected in [
        (0.27, [8, 16, 24, 24, 32, 40]),
        (1.125, [40, 56, 88, 88, 144, 184]),
    ]:
        model = helpers.network("compact500k", width=width)
        convs = [x for x in model.layers if type(x).__name__ == CONV]
        assert [layer.filters for layer in convs] == expected
    assert (
        architectures.scaled(8, recipes.RECIPES["pool2m"].replace(width=0.25))
        == 8
    )


@pytest.mark.parametrize(
    ("width", "shape", "classes"),
    [
        (1, (28, 28, 1), 10),
        (0.25, (20, 31, 2), 7),
        (0.7, (16, 17, 1), 2),
        (1.375, (32, 29, 3), 12),
    ],
)
@pytest.mark.parametrize("arch", ARCHS)
def test_descriptions_agree_with_keras(arch, width, shape, classes):
    for stem in recipes.STEMS if arch == "strided400k" else ["printed"]:
        recipe = recipes.RECIPES[arch].replace(stem=stem, width=width)
        model = models.build(recipe, shape, classes)
        shaped = architectures.infer_shapes(recipe, shape, classes)
        for one, layer in zip(shaped, model.layers[1:], strict=True):
            assert one.layer.name == layer.name
            assert one.shape == models.output_shape(layer)
            assert one.multiply_adds == multiply_adds(layer)
            assert list(one.weights.values()) == [
                tuple(weight.shape) for weight in layer.weights
            ]
        fixed = sum(one.non_trainable for one in shaped)
        assert fixed == non_trainable(model)
        counted = architectures.parameters(recipe, shape, classes)
        assert counted == model.count_params()


def test_the_printed_stem_is_2x2_dilated_by_2():
    stem = helpers.network("strided400k", stem="printed").get_layer("conv1")
    assert stem.kernel_size == (2, 2) and stem.dilation_rate == (2, 2)
    assert not stem.use_bias and stem.count_params() == 128


def test_the_3x3_stem_differs_in_its_first_row_alone():
    model = helpers.network("strided400k", stem="3x3")
    shaped = architectures.infer_shapes(RECIPE_3X3)
    marks = table.differences(shaped, documented.TABLES["strided400k"])
    assert marks == ["differs"] + [""] * 14
    stem = model.get_layer("conv1")
    assert stem.kernel_size == (3, 3) and stem.count_params() == 288
    assert tuple(stem.output.shape[1:]) == (26, 26, 32)
    assert model.count_params() == 403_722


@pytest.mark.parametrize(
    ("arch", "rates"),
    [
        ("strided400k", [0.4, 0.4]),
        ("pool2m", [0.25, 0.25, 0.25, 0.5]),
        ("compact500k", [0.4, 0.4, 0.5]),
        ("wide900k", [0.25, 0.25, 0.5]),
        ("quick65k", []),
    ],
)
def test_rates_of_dropout(arch, rates):
    assert dropout_rates(helpers.network(arch)) == rates
    model = helpers.network(arch, dropout=0.1, output_dropout=0.3)
    inner = {"pool2m": 3, "quick65k": 1}.get(arch, 2)
    assert dropout_rates(model) == [0.1] * inner + [0.3]
    model = helpers.network(arch, dropout=0, output_dropout=0)
    assert dropout_rates(model) == []


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("arch", ARCHS)
def test_activation_after_every_layer_but_the_last(arch, activation):
    model = helpers.network(arch, activation=activation)
    weighted = (keras.layers.Conv2D, keras.layers.Dense)
    hidden = [x for x in model.layers[:-1] if isinstance(x, weighted)]
    separate = [x for x in model.layers if type(x).__name__ == RELU]
    assert len(separate) in (0, len(hidden))
    used = {x.activation.__name__ for x in separate or hidden}
    assert used == {activation}
    if separate:  # after the BatchNorm, which follows the linear layer
        assert {x.activation.__name__ for x in hidden} == {"linear"}
    assert model.layers[-1].activation.__name__ == "softmax"


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (20, 31, 2)])
@pytest.mark.parametrize("arch", ARCHS)
def test_probabilities(arch, shape):
    model = helpers.network(arch, input_shape=shape, classes=7)
    out = model(pictures(shape)).numpy()
    assert out.shape == (3, 7) and out.dtype == np.float32
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-6)
    assert (out >= 0).all() and np.isfinite(out).all()
    assert model.name == arch


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_precision_sets_the_policy_of_all_layers_but_the_last(precision):
    model = helpers.network("compact500k", precision=precision)
    computed = {layer.compute_dtype for layer in model.layers[1:-1]}
    assert computed == {precision.removeprefix("mixed_")}
    assert model.layers[-1].compute_dtype == "float32"
    assert {w.dtype for w in model.get_weights()} == {np.dtype("float32")}
    out = np.asarray(model(pictures((28, 28, 1))))
    assert out.dtype == np.float32
    plain = helpers.network("compact500k")
    assert plain.layers[1].compute_dtype == "float32"
    plain.set_weights(model.get_weights())
    exact = np.asarray(plain(pictures((28, 28, 1))))
    assert not np.array_equal(out, exact)
    # Eight bits of mantissa after a handful of layers.
    np.testing.assert_allclose(out, exact, atol=0.02)


@pytest.mark.parametrize("arch", ARCHS)
def test_the_smallest_picture_is_the_smallest(arch):
    side = SMALLEST[arch]
    helpers.network(arch, input_shape=(side, side, 1))
    recipe = recipes.RECIPES[arch]
    for shape in [(side - 1, side, 1), (side, side - 1, 1)]:
        with pytest.raises(ModelError, match=f"{side}x{side}") as error:
            models.build(recipe, shape)
        assert f"got {shape[0]}x{shape[1]}" in str(error.value)
        # Without the check, the layers themselves do not fit.
        with pytest.raises(ValueError):
            x = keras.Input(shape)
            for layer in architectures.describe(recipe):
                x = models._keras_layer(layer, "float32")(x)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"arch": "pool2"}, "did you mean 'pool2m'"),
        ({"arch": "pool2m", "stem": "3x3"}, "only strided400k"),
        ({"arch": "pool2m", "width": 0}, "width: expected a number in"),
        ({"arch": "pool2m", "width": 5}, "width: expected a number in"),
        ({"arch": "pool2m", "activation": "selu"}, "relu, gelu"),
        ({"arch": "pool2m", "dropout": 1}, "dropout: expected"),
        ({"arch": "pool2m", "output_dropout": -1}, "output_dropout: "),
        ({"arch": "pool2m", "input_shape": (28, 28)}, "(28, 28)"),
        ({"arch": "pool2m", "input_shape": (28, 28, 0)}, "(28, 28, 0)"),
        ({"arch": "pool2m", "input_shape": (None, 28, 1)}, "(None, 28, 1)"),
        ({"arch": "pool2m", "classes": 1}, "at least 2 classes, got 1"),
    ],
)
def test_bad_arguments(arguments, part):
    with pytest.raises(UserError) as error:
        helpers.network(**arguments)
    assert part in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("arch", ARCHS)
def test_weights_follow_set_random_seed(arch):
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return helpers.network(arch).get_weights()

    one, again, other = weights(1), weights(1), weights(2)
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0], other[0])


def test_dropout_follows_set_random_seed():
    def outputs(seed):
        keras.utils.set_random_seed(seed)
        model = helpers.network("wide900k")
        return model(pictures((28, 28, 1)), training=True).numpy()

    np.testing.assert_array_equal(outputs(1), outputs(1))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("arch", ARCHS)
def test_save_and_load(arch, activation, tmp_path):
    model = helpers.network(arch, activation=activation)
    path = tmp_path / "best.keras"
    model.save(path)
    loaded = models.load(path)
    assert loaded.name == arch
    x = pictures((28, 28, 1))
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )


def save_small(path, layer):
    x = keras.Input((2,))
    keras.Model(x, keras.layers.Dense(2)(layer(x))).save(path)


def with_config(path, change):
    """Rewrites a saved network's configuration."""
    helpers.network("compact500k").save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def refused_load(path):
    with pytest.raises(ModelError) as error:
        models.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: expected a network saved as .keras")
    assert len(message.splitlines()) == 1
    return message


def test_load_refuses_what_is_no_network(tmp_path):
    assert "got no file" in refused_load(tmp_path / "nowhere.keras")
    assert "got no file" in refused_load(tmp_path)
    text = tmp_path / "text.keras"
    text.write_text("not a network")
    assert "another kind" in refused_load(text)
    whole = tmp_path / "whole.keras"
    helpers.network("compact500k").save(whole)
    content = whole.read_bytes()
    cut = tmp_path / "cut.keras"
    cut.write_bytes(content[: len(content) // 2])
    refused_load(cut)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    cut.write_bytes(flipped)
    refused_load(cut)
    empty = tmp_path / "empty.keras"
    with zipfile.ZipFile(empty, "w"):
        pass
    refused_load(empty)


def test_load_refuses_the_old_format_whatever_its_name(tmp_path):
    old = tmp_path / "old.h5"
    save_small(old, keras.layers.Flatten())
    assert "another kind" in refused_load(old)
    renamed = tmp_path / "renamed.keras"
    renamed.write_bytes(old.read_bytes())
    assert "another kind" in refused_load(renamed)


def test_load_refuses_code(tmp_path):
    lamb = tmp_path / "lambda.keras"
    save_small(lamb, keras.layers.Lambda(lambda x: x + 1, output_shape=(2,)))
    assert "Lambda" in refused_load(lamb)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("keras.layers", "Lambda"),
        ("keras.layers", "TFSMLayer"),
        ("keras.utils", "get_file"),
        (None, "Lambda"),
        ("evil", "Conv2D"),
    ],
)
def test_load_refuses_foreign_classes(module, name, tmp_path):
    def change(config):
        layer = config["config"]["layers"][3]
        layer |= {"module": module, "class_name": name}

    path = tmp_path / "changed.keras"
    with_config(path, change)
    assert name in refused_load(path)


@pytest.mark.parametrize(
    ("position", "key", "value", "part"),
    [
        (1, "groups", 2, "Conv2D.groups of 2 and not 1"),
        (1, "data_format", "channels_first", "channels_first"),
        (1, "kernel_size", [3, 5], "kernel_size: expected an integer"),
        (1, "filters", -8, "Conv2D.filters: expected a number in"),
        (1, "activation", "evil", "an activation 'evil'"),
        (5, "pool_size", [3, 3], "MaxPooling2D.pool_size"),
        (2, "epsilon", 0.1, "BatchNormalization.epsilon of 0.1"),
        (3, "dtype", "float64", "a precision 'float64'"),
        (-1, "use_bias", False, "Dense.use_bias of False"),
    ],
)
def test_load_refuses_settings_that_no_description_has(
    position, key, value, part, tmp_path
):
    """The network that is built would give other answers than the saved one."""

    def change(config):
        config["config"]["layers"][position]["config"][key] = value

    path = tmp_path / "changed.keras"
    with_config(path, change)
    assert part in refused_load(path)


def test_load_reads_nothing_else_of_the_configuration(tmp_path):
    """Keras never sees it: classes where no description looks do no harm."""

    def change(config):
        layer = config["config"]["layers"][1]["config"]
        evil = {"module": "os", "class_name": "system", "config": {}}
        assert layer.keys() >= {"kernel_initializer", "kernel_regularizer"}
        layer |= {"kernel_initializer": evil, "kernel_regularizer": evil}

    path = tmp_path / "changed.keras"
    with_config(path, change)
    loaded = models.load(path)
    assert loaded.count_params() == 386_474
    assert loaded.layers[1].kernel_regularizer is None


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_load_agrees_with_keras(precision, tmp_path):
    """Keras' own loader is the reference, also for the precision."""
    path = tmp_path / "best.keras"
    helpers.network("strided400k", precision=precision).save(path)
    own, reference = models.load(path), keras.models.load_model(path)
    assert own.name == reference.name
    for one, other in zip(own.layers, reference.layers, strict=True):
        assert type(one) is type(other)
        assert one.name == other.name
        assert one.compute_dtype == other.compute_dtype
    x = pictures((28, 28, 1))
    np.testing.assert_array_equal(
        own.predict(x, verbose=0), reference.predict(x, verbose=0)
    )


def test_load_takes_the_file_rewritten_without_a_change(tmp_path):
    path = tmp_path / "same.keras"
    with_config(path, lambda config: None)
    assert models.load(path).count_params() == 386_474


@pytest.mark.parametrize("arch", ARCHS)
def test_the_printed_table_has_no_differences(arch):
    model = helpers.network(arch)
    text = table.text(recipes.recipe_for(arch))
    assert "differs" not in text
    assert len(text.splitlines()) >= len(model.layers) + 4
    assert f"parameters {PARAMETERS[arch][0]:,}; document" in text
    total = sum(map(multiply_adds, model.layers))
    assert f"multiply-adds {total:,}" in text


def test_the_printed_table_marks_differences():
    lines = table.text(RECIPE_3X3)
    marked = [x for x in lines.splitlines() if x.endswith("differs")]
    assert [line.split()[0] for line in marked] == ["conv1", "parameters"]


def run_as_module(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mnistpipe.models", *arguments],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[1],
        check=False,
    )


def test_run_as_a_module():
    done = run_as_module("--arch=strided400k", "--stem=3x3")
    assert done.returncode == 0
    assert done.stdout.startswith("strided400k\n")
    assert "parameters 403,722; document 403,562  differs" in done.stdout
    done = run_as_module("--arch=pool2m", "--stem=3x3")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: stem: expected")


@pytest.mark.parametrize("arch", ARCHS)
def test_batchnorm_momentum(arch):
    for changes, expected in [
        ({}, 0.9),
        ({"batchnorm_momentum": 0.99}, 0.99),
    ]:
        model = helpers.network(arch, **changes)
        norms = [x for x in model.layers if type(x).__name__ == NORM]
        assert {x.momentum for x in norms} <= {expected}
        assert len(norms) == [4, 6, 6, 0, 3][ARCHS.index(arch)]
