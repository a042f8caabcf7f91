import os

import pytest

from ws4redis.protocol import speedups

from .client import naive_mask


@pytest.fixture(params=["apply_mask_pure", "apply_mask_wsaccel"])
def apply_mask(request):
    if request.param == "apply_mask_wsaccel":
        pytest.importorskip("wsaccel")
    return getattr(speedups, request.param)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 125, 126, 1000, 65537])
def test_equals_the_naive_loop(apply_mask, size):
    data, mask = os.urandom(size), os.urandom(4)

    assert apply_mask(data, mask) == naive_mask(data, mask)


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1", b"\1\0\0\0"])
def test_twice_is_nothing(apply_mask, mask):
    data = bytes(range(256))

    assert apply_mask(apply_mask(data, mask), mask) == data


def test_leaves_its_input_alone(apply_mask):
    data = b"\0" * 10

    apply_mask(data, b"abcd")

    assert data == bytes(10)


def test_the_fastest_is_chosen():
    try:
        import wsaccel  # noqa: F401
    except ImportError:
        assert speedups.apply_mask is speedups.apply_mask_pure
    else:
        assert speedups.apply_mask is speedups.apply_mask_wsaccel
