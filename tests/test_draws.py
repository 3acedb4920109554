"""Threefry against published vectors, JAX and NumPy; uniforms and normals."""

import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.pipeline import draws

# Salmon et al., Random123 1.14, tests/kat_vectors: "threefry2x32 20".
RANDOM123 = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000),
     (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF),
     (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3),
     (0xC4923A9C, 0x483DF7A0)),
]  # fmt: skip
# Printed by jax 0.10.2's jax.extend.random.threefry_2x32(key, count).
JAX = [
    ((1, 2), (3, 4), (0x5DF433EC, 0x8617198E)),
    ((0xDEADBEEF, 0xCAFEBABE), (123456789, 987654321),
     (0xAEA39D87, 0x230A950F)),
    ((42, 0), (0, 1), (0xE6BDADA3, 0xF67A601B)),
]  # fmt: skip


def u32(values):
    return tf.constant(np.asarray(values, np.uint32))


def threefry_numpy(key, counter):
    """The paper's loop with NumPy's uint32, rotations by a shift pair."""
    key = [np.asarray(word, np.uint32) for word in key]
    key.append(key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x0 = np.asarray(counter[0], np.uint32) + key[0]
    x1 = np.asarray(counter[1], np.uint32) + key[1]
    for number in range(20):
        turn = [13, 15, 26, 6, 17, 29, 16, 24][number % 8]
        x0 = x0 + x1
        x1 = (x1 << np.uint32(turn)) | (x1 >> np.uint32(32 - turn))
        x1 = x1 ^ x0
        if number % 4 == 3:
            block = number // 4 + 1
            x0 = x0 + key[block % 3]
            x1 = x1 + key[(block + 1) % 3] + np.uint32(block)
    return x0, x1


@pytest.mark.parametrize(("key", "counter", "expected"), RANDOM123 + JAX)
@pytest.mark.parametrize("jit", [False, True])
def test_threefry_is_the_published_one(key, counter, expected, jit):
    function = tf.function(draws.threefry2x32, jit_compile=jit)
    words = function(
        tuple(u32(word) for word in key), tuple(u32(w) for w in counter)
    )
    assert tuple(int(word) for word in words) == expected


@pytest.mark.filterwarnings("ignore:overflow")
def test_threefry_matches_numpy(rng):
    key, counter = rng.integers(0, 2**32, (2, 2, 1000), dtype=np.uint32)
    ours = draws.threefry2x32(tuple(u32(key)), tuple(u32(counter)))
    np.testing.assert_array_equal(ours, threefry_numpy(key, counter))


@pytest.mark.filterwarnings("ignore:overflow")
def test_keys_are_two_threefrys_deep(rng):
    seed, epoch = 0x123456789ABCDEF, 3_000_000_000
    index = rng.integers(0, 2**62, 100)
    words = threefry_numpy(
        (seed & 0xFFFFFFFF, seed >> 32), (epoch & 0xFFFFFFFF, epoch >> 32)
    )
    expected = threefry_numpy(words, (index & 0xFFFFFFFF, index >> 32))
    ours = pipeline.example_keys(seed, epoch, index)
    np.testing.assert_array_equal(ours, np.stack(expected, axis=-1))


def test_golden_keys_and_draws():
    """The same in every version of TensorFlow, for ever."""
    keys = pipeline.example_keys(1, 2, np.arange(2))
    assert keys.numpy().tolist() == GOLDEN_KEYS
    rng = pipeline.Draws(keys, place=3)
    uniform = rng.uniform(3).numpy() * 2**24
    assert uniform.tolist() == GOLDEN_UNIFORM
    np.testing.assert_allclose(
        rng.normal_field((2, 2, 1)).numpy().reshape(2, 4),
        GOLDEN_NORMAL,
        rtol=0,
        atol=2e-6,
    )


GOLDEN_KEYS = [[98211468, 197007626], [43530963, 2263901917]]
GOLDEN_UNIFORM = [
    [4219984.0, 10007441.0, 4324231.0],
    [4867647.0, 16070367.0, 13548095.0],
]
GOLDEN_NORMAL = [
    [
        -0.6930031180381775,
        -0.10318011790513992,
        -0.3097793161869049,
        0.18613821268081665,
    ],
    [
        -1.0825973749160767,
        -0.8638964891433716,
        -0.41115787625312805,
        0.8014066219329834,
    ],
]


def test_no_two_keys_collide():
    keys = pipeline.example_keys(5, 0, np.arange(1_000_000)).numpy()
    more = pipeline.example_keys(5, 1, np.arange(1_000_000)).numpy()
    together = np.concatenate([keys, more]).view(np.uint64)
    assert len(np.unique(together)) == 2_000_000


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, "1", None, True])
def test_a_bad_seed_is_one_line(seed):
    with pytest.raises(ValueError, match=r"seed that is an integer") as error:
        pipeline.example_keys(seed, 0, [0])
    assert "\n" not in str(error.value)
    assert repr(seed) in str(error.value)


def test_uniforms_stay_below_one():
    bits = u32([0, 255, 256, 2**31, 2**32 - 257, 2**32 - 256, 2**32 - 1])
    uniform = draws.uniform_from_bits(bits).numpy().astype(np.float64)
    expected = np.floor(bits.numpy() / 256.0) / 2**24
    np.testing.assert_array_equal(uniform, expected)
    assert uniform.max() < 1


@pytest.mark.parametrize("jit", [False, True])
def test_normals_are_box_muller(rng, jit):
    bits = rng.integers(0, 2**32, (2, 100_000), dtype=np.uint32)
    edges = [0, 1, 2, 2**31 - 1, 2**31, 2**32 - 129, 2**32 - 128, 2**32 - 1]
    bits[0, :8], bits[1, :8] = edges, edges[::-1]
    function = tf.function(draws.normals_from_bits, jit_compile=jit)
    ours = np.asarray(function(u32(bits[0]), u32(bits[1])), np.float64)
    # The uniform is rounded to float32; compare from there in float64.
    uniform = (bits[0].astype(np.float32) + np.float32(0.5)).astype(float)
    radius = np.sqrt(-2 * np.log(uniform / 2**32))
    turn = 2 * np.pi * bits[1].astype(float) / 2**32
    expected = radius * np.stack([np.cos(turn), np.sin(turn)])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=5e-6)


def test_tails_pass_six_sigma():
    first, second = draws.normals_from_bits(
        u32([0, 0, 0, 0]), u32([0, 2**30, 2**31, 3 * 2**30])
    )
    assert first.numpy()[[0, 2]].tolist() == pytest.approx([6.76, -6.76], 1e-3)
    assert second.numpy()[[1, 3]].tolist() == pytest.approx([6.76, -6.76], 1e-3)


@tf.function(jit_compile=True, autograph=False)
def _extremes(bits):
    # Beside each radius an angle of each octant, at which sine and cosine
    # are largest, smallest and equal.
    turns = tf.constant([i << 29 for i in range(8)], tf.uint32)
    values = draws.normals_from_bits(bits[:, None], turns[None])
    finite = tf.reduce_all(tf.math.is_finite(tf.stack(values)))
    return finite, tf.reduce_max(tf.abs(tf.stack(values)))


def test_normals_are_finite_for_every_radius():
    """Every float32 that a uint32 can round to, enumerated.

    Above 2**24 a float32 holds only multiples of a power of two, so all
    uint32 give 2**24 + 8·2**23 distinct ones.
    """
    blocks = [(0, 1)]
    blocks += [(1 << power, 1 << (power - 23)) for power in range(24, 32)]
    largest = 0.0
    for start, stride in blocks:
        count = 2**24 if start == 0 else 2**23
        for first in range(0, count, 2**21):
            bits = start + stride * np.arange(first, first + 2**21)
            finite, extreme = _extremes(u32(bits.astype(np.uint64)))
            assert finite
            largest = max(largest, float(extreme))
    assert 6.7 < largest < 6.8


def _field(count, place=0, epoch=0, size=784):
    keys = pipeline.example_keys(11, epoch, np.arange(count))
    return _normal_field(keys, place, size)


@tf.function(jit_compile=True, autograph=False)
def _normal_field(keys, place, size):
    return pipeline.Draws(keys, place).normal_field((size, 1, 1))[..., 0, 0]


def test_moments_of_a_hundred_million_normals():
    sums, count, beyond = np.zeros(4), 0, 0
    for epoch in range(100):
        noise = _field(1280, epoch=epoch).numpy().ravel()
        square = noise * noise
        for power, value in enumerate(
            (noise, square, square * noise, square * square)
        ):
            sums[power] += value.sum(dtype=np.float64)
        beyond += np.count_nonzero(square > 25)
        count += noise.size
    assert count > 1e8
    mean, second, third, fourth = sums / count
    # Standard errors of the first four moments of n normals.
    error = np.sqrt(np.array([1, 2, 15, 96]) / count)
    assert np.abs([mean, second - 1, third, fourth - 3] / error).max() < 5
    # P(|z| > 5) = 5.73e-7: 57.5 of them expected.
    assert 25 < beyond < 100


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def test_fields_are_independent():
    base = _field(2000).numpy()
    others = {
        "neighbouring pixels": (base[:, :-1], base[:, 1:]),
        "rows of 28": (base[:, :-28], base[:, 28:]),
        "the two halves": (base[:, :392], base[:, 392:]),
        "neighbouring keys": (base[:-1], base[1:]),
        "transforms": (base, _field(2000, place=1).numpy()),
        "epochs": (base, _field(2000, epoch=1).numpy()),
    }
    for name, (a, b) in others.items():
        assert abs(correlation(a, b)) < 5 / np.sqrt(a.size), name
        assert abs(correlation(a**2, b**2)) < 5 / np.sqrt(a.size), name


def test_kinds_of_draws_share_no_bits():
    keys = pipeline.example_keys(0, 0, np.arange(5000))
    kinds = {}
    for place in (0, 1):
        rng = pipeline.Draws(keys, place)
        kinds[f"parameters {place}"] = rng.uniform(5).numpy()[:, :4]
        for field in (0, 1):
            kinds[f"field {place} {field}"] = (
                rng.uniform_field((2, 2, 1), field).numpy().reshape(-1, 4)
            )
        kinds[f"applied {place}"] = np.stack(
            [rng.applied(0.25 * i + 0.125) for i in range(4)], axis=1
        )
    names = list(kinds)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            matrix = np.corrcoef(kinds[one].T, kinds[other].T)[:4, 4:]
            assert np.abs(matrix).max() < 5 / np.sqrt(5000), (one, other)


@pytest.mark.parametrize("field", [-1, 2, None])
def test_there_are_two_fields(field):
    rng = pipeline.Draws(pipeline.example_keys(0, 0, [0]), 0)
    with pytest.raises(ValueError, match="field to be 0 or 1"):
        rng.uniform_field((2,), field)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_more_parameters_leave_the_first_as_they_were(count):
    rng = pipeline.Draws(pipeline.example_keys(0, 0, np.arange(10)), 0)
    assert rng.uniform(count).shape == (10, count)
    np.testing.assert_array_equal(rng.uniform(count), rng.uniform(9)[:, :count])


def test_probability_is_met():
    rng = pipeline.Draws(pipeline.example_keys(0, 0, np.arange(100_000)), 0)
    for probability in (0.0, 0.3, 1.0):
        share = rng.applied(probability).numpy().mean()
        error = np.sqrt(probability * (1 - probability) / 100_000)
        assert abs(share - probability) <= 5 * error
