from .. import deep
from .numbers import FACTOR as NAME


class Inner:
    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return self.n == other.n

    def __repr__(self):
        return f"Inner({self.n})"

    def total(self):
        return deep.scale(self.n) + NAME


def up(x):
    from .. import scaled

    return scaled(x)
