from .numbers import FACTOR


def scale(x):
    return x * FACTOR
