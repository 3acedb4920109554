"""Data sets of labelled images: loading, checking, splitting. No TensorFlow.

digits = data.load()                    # MNIST, from the package
digits = data.load("my/digits.npz")     # Keras' layout
digits = data.load("fashion-mnist/")    # four IDX files, gzipped or not
digits.train.images                     # uint8 [N, H, W, C], 0 to 255
digits.train.labels                     # int64 [N], 0 to digits.classes-1
test = data.load_test("handwriting/")   # pictures in folders 0/ … 9/
rest, chosen = data.stratified_split(digits.train.labels, 5_000, seed=1)
"""

from mnistpipe.data.examples import DataError, Digits, Examples, TestSet
from mnistpipe.data.sources import load, load_test
from mnistpipe.data.splits import stratified_split, stratified_subset

__all__ = [
    "DataError",
    "Digits",
    "Examples",
    "TestSet",
    "load",
    "load_test",
    "stratified_split",
    "stratified_subset",
]
