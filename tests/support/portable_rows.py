"""Kinds of functions and values that must go from any version of Python to any other: cells that define `f`.

`args` are the arguments (3, if there are none); `compare = False`: the result is compared by its text only.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Row(NamedTuple):
    name: str
    text: str
    since: tuple[int, int] = (3, 11)
    """The version in which its syntax appeared: older ones cannot define it."""
    modules: tuple[str, ...] = ()


_TEXTS = '''
## plain function
def f(x):
    """Doc."""
    return x * 2, f.__name__, f.__doc__

## lambda
f = lambda x: x + 1

## lambdas on one line
fs = [lambda x: x + 1, lambda x: x + 2, lambda x: x * 10]; g = lambda x: x - 1
f = lambda x: [h(x) for h in fs] + [g(x)]

## equal lambdas on one line
a, b = lambda x: x, lambda x: x
f = lambda x: (a(x), b(x))

## lambdas in a dict
ops = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
}
def f(x):
    return {name: op(x, 2) for name, op in ops.items()}

## lambda in a default argument
def f(x, key=lambda v: -v):
    return sorted([x, 1, 2], key=key)

## lambda in a comprehension
fs = [lambda x, k=k: x * k for k in range(4)]
gs = {k: (lambda x: x + k) for k in range(3)}
def f(x):
    return [g(x) for g in fs], [g(x) for g in gs.values()]

## lambda over several lines
f = (lambda x:
     x
     + 1)

## closure
def make(n):
    def add(x):
        return x + n
    return add
f = make(10)

## closure with several free names in another order
def make(zeta, alpha, mu):
    def inner(x):
        return mu, alpha, zeta, x
    return inner
f = make(1, 2, 3)

## closures share a counter
def make():
    count = 0
    def bump():
        nonlocal count
        count += 1
        return count
    def read():
        return count
    return bump, read
bump, read = make()
def f(x):
    bump(); bump()
    return read()

## nested functions return functions
def make(a):
    def second(b):
        def third(c):
            return a, b, c
        return third
    return second
g = make(1)
f = lambda x: g(2)(x)

## a returned closure comes home
def f(x):
    def add(y):
        return x + y
    return add
compare = False
class Show:
    pass
f2 = f
def f(x):
    return [f2(x)(5), f2(x).__qualname__]

## recursion
def f(n):
    return 1 if n < 2 else n * f(n - 1)
args = (20,)

## nested recursion
def make():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)
    return fib
f = make()
args = (12,)

## mutual recursion
def even(n):
    return n == 0 or odd(n - 1)
def odd(n):
    return n != 0 and even(n - 1)
f = even
args = (10,)

## a lambda that calls itself by name
fact = lambda n: 1 if n < 2 else n * fact(n - 1)
f = fact
args = (6,)

## defaults and keyword-only
def f(a, /, b=2, *rest, c, d=4, **more):
    return a, b, rest, c, d, more
g = f
def f(x):
    return g(x, c=1), g(x, 5, 6, 7, c=8, d=9, e=10)

## default that is mutable
def f(x, seen=[]):
    seen.append(x)
    return list(seen)
f2 = f
def f(x):
    return f2(x, [1]), f2.__defaults__

## annotations
def f(x: int, *, y: "Later" = 1) -> list[int]:
    z: dict[str, int] = {"a": x}
    return [x, y, z["a"]], sorted(f.__annotations__)

## future annotations
from __future__ import annotations
def f(x: Unknown, y: int | None = None) -> Nowhere:
    def inner(z: AlsoUnknown) -> Missing:
        return z
    return inner(x), sorted(f.__annotations__.items()), inner.__annotations__

## annotated local names
def f(x):
    y: int
    z: float = x / 2
    return z

## globals read
LIMIT = 7
NAMES = ["a", "b"]
def f(x):
    return x + LIMIT, NAMES

## globals written
total = 0
def add(n):
    global total
    total += n
def f(x):
    add(x)
    add(x)
    return total
_f = f
def f(x):
    global total
    total = 0
    return _f(x)

## a global that a class in a function reads
CONSTANT = 41
def f(x):
    class Inner:
        value = CONSTANT + 1
    return Inner.value

## generator function
def count(n):
    for i in range(n):
        got = yield i
        if got:
            yield got
def f(x):
    return list(count(x)), list(v * 2 for v in count(x))

## yield from and return
def inner():
    got = yield 1
    return 5
def outer():
    value = yield from inner()
    yield value
f = lambda x: list(outer())

## async functions
import asyncio
async def double(x):
    await asyncio.sleep(0)
    return x * 2
async def numbers(n):
    for i in range(n):
        yield i
async def main(x):
    return [await double(i) async for i in numbers(x)]
def f(x):
    return asyncio.run(main(x))

## match
from dataclasses import dataclass
@dataclass
class Point:
    x: int
    y: int
def kind(v):
    match v:
        case [a, *rest] if rest:
            return "list", a, rest
        case {"k": value, **others}:
            return "dict", value, others
        case Point(x=0, y=y):
            return "on y", y
        case Point(a, b):
            return "point", a + b
        case int() | float() as number:
            return "number", number
        case None | True:
            return "constant"
        case _:
            return "other"
def f(x):
    return [kind(v) for v in ([1, 2], {"k": 1, "l": 2}, Point(0, 2), Point(1, 2), x, None, "s")]

## walrus
def f(x):
    if (n := x * 2) > 3:
        return [y := n, y ** 2, [last := i for i in range(3)], last]

## comprehensions of every kind
def f(x):
    return [i for i in range(x)], {i for i in range(x)}, {i: j for i in range(x) for j in range(i)}, list(i for i in [x])

## nested comprehensions with closure
def f(x):
    return [[(lambda: i * j)() for i in range(x)] for j in range(x) if j]

## f-strings
def f(x):
    name = "n"
    return f"{x!r:>5}|{x:{x}.2f}|{name=}|{{}}|{f'{x}'}", f"""{
        x + 1
    } lines"""

## try, finally, with, while else
import contextlib
def f(x):
    out = []
    with contextlib.suppress(KeyError), contextlib.nullcontext(x) as v:
        {}["a"]
    try:
        1 / 0
    except (ZeroDivisionError, ValueError) as e:
        out.append(type(e).__name__)
    else:
        out.append("else")
    finally:
        out.append("finally")
    while x > 0:
        x -= 1
        if x == 10:
            break
    else:
        out.append("done")
    for i in range(2):
        continue
    return out

## exception groups
def f(x):
    got = []
    try:
        raise ExceptionGroup("g", [ValueError(1), KeyError(2)])
    except* ValueError as group:
        got.append(len(group.exceptions))
    except* KeyError:
        got.append("k")
    return got

## star expressions and slices
def f(x):
    a, *b = range(x + 2)
    d = {"k": 1, **{"l": 2}}
    b[0:1] = [9]
    return [*b, a], (*b,), d, b[::-1], b[-1:], dict(**d), print(*b, sep="")

## operators
import numbers
def f(x):
    y = x
    y += 1; y -= 2; y *= 7; y //= 2; y **= 2; y %= 50; y <<= 1; y >>= 1; y |= 8; y &= 127; y ^= 1
    assert y >= 0, "never"
    del x
    return y, -y, +y, ~y, not y, 1 < y < 1000 != 5, y is None, y in (1, 2), y if y else 0, 1j * y, ..., b"x", "s" "t"

## large numbers and constants
BIG = 10 ** 50
def f(x):
    return BIG + x, 123456789012345678901234567890, 0.1, -0.0, 1e400, 0xFF, 1_000, (1, (2.0, True)), x in {1, 2, 3}

## strings that are hard
def f(x):
    return "ä€😀", "\\x00\\n\\t", r"\\d", "\\ud800", """a
  b""", b"\\xff"

## class
class Counter:
    """A counter."""
    kind = "counter"
    def __init__(self, start=0):
        self.n = start
    def add(self, k):
        self.n += k
        return self
    def __repr__(self):
        return f"{type(self).__qualname__}({self.n})"
    def __eq__(self, other):
        return isinstance(other, Counter) and self.n == other.n
def f(x):
    return Counter(x).add(2), Counter.kind, Counter.__doc__, Counter.__name__

## inheritance and super
class Base:
    def __init__(self, x):
        self.x = x
    def value(self):
        return self.x
    def __repr__(self):
        return f"{type(self).__name__}({self.x})"
class Middle(Base):
    def value(self):
        return super().value() * 2
class Left(Middle):
    def value(self):
        return super(Left, self).value() + 1
    def __eq__(self, other):
        return __class__ is type(other) and self.x == other.x
class Mixin:
    def value(self):
        return ("mixed", super().value())
class Both(Mixin, Left):
    pass
def f(x):
    return Left(x), Left(x).value(), Both(x).value(), [c.__name__ for c in Both.__mro__]

## super in a nested function and in a comprehension
class Base:
    def get(self):
        return 5
class Child(Base):
    def get(self):
        def inner():
            return super(Child, self).get()
        return inner(), (lambda: __class__.__name__)()
f = lambda x: Child().get()

## private names
class Secret:
    __hidden = 5
    def __init__(self):
        self.__x = 1
    def __method(self):
        return self.__x + self.__hidden
    def get(self):
        return self.__method(), (lambda: self.__x)(), [self.__x for _ in "ab"]
    key = lambda self: self.__x
f = lambda x: (Secret().get(), Secret().key(), sorted(vars(Secret()))) 

## private free name
def make():
    class Holder:
        def get(self):
            __local = 3
            def inner():
                return __local
            return inner
    return Holder
got = make()().get()
f = lambda x: got() + x

## class in a function
def make(n):
    class Local:
        factor = n
        def times(self, x):
            return x * n * self.factor
    return Local
L = make(3)
def f(x):
    return L().times(x), L.__qualname__

## class attribute lambda and nested class
class Outer:
    scale = staticmethod(lambda v: v * 3)
    class Inner:
        def hello(self):
            return "hi", Outer.Inner.__qualname__
f = lambda x: (Outer.scale(x), Outer.Inner().hello())

## properties, class and static methods
class Circle:
    count = 0
    def __init__(self, r):
        self._r = r
    @property
    def r(self):
        """Radius."""
        return self._r
    @r.setter
    def r(self, value):
        self._r = value
    @classmethod
    def unit(cls):
        cls(0)
        return cls(1)
    @staticmethod
    def area(r):
        return 3 * r * r
def f(x):
    c = Circle.unit()
    c.r = x
    return c.r, Circle.area(x), Circle.count, Circle.r.__doc__

## bound methods
class Adder:
    def __init__(self, n):
        self.n = n
    def add(self, x):
        return x + self.n
    @classmethod
    def make(cls, n):
        return cls(n).n
bound, of_class, builtin = Adder(5).add, Adder.make, [1, 2].index
f = lambda x: (bound(x), of_class(x), builtin(2))

## slots
class Slotted:
    __slots__ = ("a", "__b")
    def __init__(self, a):
        self.a, self.__b = a, 2
    def __repr__(self):
        return f"Slotted({self.a}, {self.__b}, {hasattr(self, '__dict__')})"
    def __eq__(self, other):
        return self.a == other.a
def f(x):
    return Slotted(x), "c" in dir(Slotted(x))

## special methods
class Vector:
    def __init__(self, *v):
        self.v = v
    def __add__(self, o):
        return Vector(*map(sum, zip(self.v, o.v)))
    def __getitem__(self, i):
        return self.v[i]
    def __len__(self):
        return len(self.v)
    def __call__(self, k):
        return [k * x for x in self.v]
    def __enter__(self):
        return self
    def __exit__(self, *_):
        return True
    def __iter__(self):
        yield from self.v
    def __hash__(self):
        return hash(self.v)
    def __eq__(self, o):
        return self.v == o.v
    def __repr__(self):
        return f"V{self.v}"
def f(x):
    with Vector(1, 2) as v:
        raise ValueError
    return v + v, v[0], len(v), v(x), list(v), {v: 1}[Vector(1, 2)]

## a callable instance as the function
class Times:
    def __init__(self, n):
        self.n = n
    def __call__(self, x):
        return x * self.n
f = Times(4)

## metaclass
class Meta(type):
    def __new__(mcs, name, bases, names):
        return super().__new__(mcs, name, bases, names)
    @property
    def shout(cls):
        return cls.__name__.upper()
class Thing(metaclass=Meta):
    pass
f = lambda x: (Thing.shout, type(Thing).__name__)

## descriptors and init_subclass
class Typed:
    def __set_name__(self, owner, name):
        self.name = "_" + name
    def __get__(self, obj, owner=None):
        return self if obj is None else getattr(obj, self.name, 0)
    def __set__(self, obj, value):
        setattr(obj, self.name, int(value))
class Plugin:
    found = []
    def __init_subclass__(cls, **kw):
        super().__init_subclass__(**kw)
        cls.label = cls.__name__.lower()
class One(Plugin):
    size = Typed()
def f(x):
    one = One()
    one.size = "12"
    return one.size, One.label

## dataclass
from dataclasses import dataclass, field
@dataclass
class P:
    x: int
    y: int = 2
    tags: list = field(default_factory=list)
    hidden: int = field(default=0, repr=False, compare=False)
    def norm(self):
        return self.x + self.y
def f(x):
    return P(x), P(x, tags=[1]).norm(), P(1) == P(1), P.__match_args__

## frozen and ordered dataclass
from dataclasses import dataclass, replace, astuple, asdict, FrozenInstanceError
@dataclass(frozen=True, order=True)
class V:
    a: int
    b: str = "b"
def f(x):
    try:
        V(1).a = 3
    except FrozenInstanceError as error:
        message = str(error)
    try:
        V(1).other = 3
    except FrozenInstanceError as error:
        message += str(error)
    return V(x), V(1) < V(2), hash(V(1)) == hash(V(1)), {V(1): 2}[V(1)], message, replace(V(1), a=5), astuple(V(1))

## dataclass with slots, post-init, InitVar, ClassVar, KW_ONLY
from dataclasses import dataclass, field, InitVar, KW_ONLY, fields
from typing import ClassVar
@dataclass(slots=True)
class S:
    a: int
    seed: InitVar[int] = 1
    kinds: ClassVar[list] = ["k"]
    _: KW_ONLY
    b: int = field(default=5, metadata={"unit": "m"})
    c: int = field(init=False)
    def __post_init__(self, seed):
        self.c = self.a * seed
def f(x):
    return S(x, 2), S(1, b=3), S.kinds, [(g.name, g.kw_only, dict(g.metadata)) for g in fields(S)], hasattr(S(1), "__dict__")

## frozen dataclass with slots
from dataclasses import dataclass
@dataclass(frozen=True, slots=True)
class F:
    a: int
    b: tuple = ()
def f(x):
    return F(x, (1,)), {F(1): 1}, F(2) == F(2)

## dataclasses that inherit
from dataclasses import dataclass, field
@dataclass
class A:
    x: int
    def make(self):
        return B(self.x, "made")
    def __str__(self):
        return "A!"
@dataclass
class B(A):
    name: str = "n"
    def make(self):
        return super().make()
@dataclass
class C(B):
    x: float = 0.5
    z: list = field(default_factory=lambda: [A(1)])
def f(x):
    return A(x).make(), B(x).make(), C(), str(B(1)), C.__dataclass_fields__["x"].type

## dataclass with methods of its own
from dataclasses import dataclass
@dataclass
class Own:
    x: int
    def __repr__(self):
        return f"<{self.x}>"
    def __eq__(self, other):
        return self.x % 10 == other.x % 10
    def __hash__(self):
        return 1
    def __init__(self, x, extra=1):
        self.x = x + extra
f = lambda x: (Own(x), Own(3) == Own(13), hash(Own(1)))

## generic dataclass
from dataclasses import dataclass
from typing import Generic, TypeVar
T = TypeVar("T")
@dataclass
class Box(Generic[T]):
    item: T
    def get(self) -> T:
        return self.item
def f(x):
    return Box(x), Box[int](2).get()

## enum
from enum import Enum, IntEnum, Flag, auto, StrEnum, unique
@unique
class Color(Enum):
    """Colors."""
    RED = 1
    GREEN = "g"
    def shout(self):
        return self.name + "!"
    @property
    def double(self):
        return self.value * 2
    @classmethod
    def first(cls):
        return list(cls)[0]
    def __str__(self):
        return "C." + self.name
class Size(IntEnum):
    S = auto()
    M = auto()
    MEDIUM = M
class Perm(Flag):
    R = auto()
    W = auto()
    RW = R | W
class Word(StrEnum):
    A = auto()
    B = "bee"
def f(x):
    return (Color.RED, Color("g").shout(), Color.RED.double, Color.first(), str(Color.RED), Size.MEDIUM is Size.M, Size.M + 1,
            Perm.R | Perm.W, Perm.RW, Word.A, f"{Word.B}", str(Size.S), list(Perm.RW), Color.__doc__, Color.RED in Color)

## enum with init and missing
from enum import Enum
class Planet(Enum):
    EARTH = (6, 4)
    MARS = (1, 2)
    def __init__(self, mass, radius):
        self.mass = mass
        self.radius = radius
    @property
    def density(self):
        return self.mass / self.radius
    @classmethod
    def _missing_(cls, value):
        return cls.MARS
def f(x):
    return Planet.EARTH, Planet.EARTH.density, Planet("?"), Planet.EARTH.mass

## named tuples
from collections import namedtuple
from typing import NamedTuple
A = namedtuple("A", "x y", defaults=[5])
class B(NamedTuple):
    """B!"""
    name: str
    n: int = 3
    def twice(self):
        return self.n * 2
    def __repr__(self):
        return f"B<{self.name}>"
class C(namedtuple("C", "u v")):
    def total(self):
        return self.u + self.v
def f(x):
    return A(x), A(1)._replace(y=2), A._fields, B("b"), B("c").twice(), B.__doc__, C(1, 2).total(), C(1, 2), B("q")._asdict()

## typed dicts
from typing import TypedDict, NotRequired
class Movie(TypedDict):
    name: str
    year: NotRequired[int]
class More(Movie, total=False):
    stars: "int"
def f(x):
    m: Movie = {"name": "a"}
    return Movie(name="x"), m, sorted(More.__required_keys__), sorted(More.__optional_keys__)

## protocols
from typing import Protocol, runtime_checkable
@runtime_checkable
class HasArea(Protocol):
    side: int
    def area(self) -> float: ...
class Square:
    side = 2
    def area(self):
        return 4.0
class Explicit(HasArea):
    side = 3
    def area(self):
        return 9.0
def f(x):
    return isinstance(Square(), HasArea), isinstance(x, HasArea), Explicit().area(), isinstance(Explicit(), HasArea)

## abstract base classes
from abc import ABC, abstractmethod
class Shape(ABC):
    @abstractmethod
    def area(self): ...
    @property
    @abstractmethod
    def name(self): ...
    def twice(self):
        return 2 * self.area()
class Sq(Shape):
    name = "sq"
    def area(self):
        return 4
@Shape.register
class Other:
    pass
def f(x):
    try:
        Shape()
    except TypeError as error:
        made = "abstract" in str(error)
    return Sq().twice(), made, isinstance(Other(), Shape), sorted(Shape.__abstractmethods__)

## own exceptions
class Trouble(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code
def f(x):
    try:
        raise Trouble(7, "t")
    except Trouble as error:
        return error.code, str(error)

## exception of its own class is raised
class Trouble(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code
def f(x):
    raise Trouble(x, "raised")

## decorator with wraps
import functools
def logged(prefix):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kw):
            return prefix, function(*args, **kw)
        return wrapper
    return decorate
@logged("a")
@logged("b")
def f(x):
    """Doc of f."""
    return x + 1, f.__name__, f.__doc__

## decorator class
class Memo:
    def __init__(self, function):
        self.function = function
        self.seen = {}
    def __call__(self, x):
        if x not in self.seen:
            self.seen[x] = self.function(x)
        return self.seen[x]
@Memo
def f(x):
    return x * 3

## partial
import functools, operator
def power(base, exponent, *, plus=0):
    return base ** exponent + plus
square = functools.partial(power, exponent=2, plus=1)
f = functools.partial(lambda g, x: (g(x), operator.itemgetter(1)([1, x])), square)

## lru_cache
import functools
@functools.lru_cache(maxsize=100)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
@functools.cache
def g(x, *, y=1):
    return x + y
def f(x):
    return fib(50), g(x), g(x), fib.cache_parameters(), fib.__name__

## lru_cache on the function and on a method
import functools
class Slow:
    @functools.lru_cache
    def get(self, x):
        return x + 1
    def __hash__(self):
        return 1
    def __eq__(self, other):
        return True
slow = Slow()
@functools.cache
def f(x):
    return slow.get(x)

## singledispatch
import functools
@functools.singledispatch
def show(x):
    return "object", x
@show.register
def _(x: int):
    return "int", x
@show.register(list)
def _(x):
    return "list", [show(i) for i in x]
f = lambda x: (show(x), show([1, "a"]), show(None))

## singledispatchmethod, cached_property, partialmethod, total_ordering
import functools
@functools.total_ordering
class M:
    def __init__(self, n):
        self.n = n
    @functools.cached_property
    def heavy(self):
        """Heavy."""
        return self.n * 100
    @functools.singledispatchmethod
    def kind(self, x):
        return "?"
    @kind.register
    def _(self, x: int):
        return "int"
    def scale(self, k):
        return self.n * k
    double = functools.partialmethod(scale, 2)
    def __eq__(self, other):
        return self.n == other.n
    def __lt__(self, other):
        return self.n < other.n
    def __repr__(self):
        return f"M({self.n})"
def f(x):
    m = M(x)
    return m.heavy, m.heavy, m.kind(1), m.kind("a"), m.double(), M(1) >= M(0), m

## context managers
import contextlib
@contextlib.contextmanager
def marked(log):
    log.append("in")
    try:
        yield log
    finally:
        log.append("out")
def f(x):
    with marked([]) as log:
        log.append(x)
    return log

## stdlib and module references
import math, os.path as path, collections.abc, json as j, re
from datetime import timedelta
PATTERN = re.compile(r"(\\d+)")
def f(x):
    return math.sqrt(x + 1), path.join("a", "b"), isinstance([], collections.abc.Sequence), j.dumps({"a": x}), \\
        PATTERN.findall("a1b22"), timedelta(x)

## import inside
def f(x):
    import statistics
    from fractions import Fraction as Fr
    return statistics.mean([x, 1]), Fr(x, 4)

## values of many types
import array, collections, datetime, decimal, fractions, ipaddress, itertools, pathlib, random, types, uuid, zoneinfo
VALUES = [
    10 ** 100, 1.5, 1j, "s", b"b", bytearray(b"ba"), None, True, ..., NotImplemented, (1,), [2], {3}, frozenset({4}), {5: 6},
    range(3), slice(1, 2), array.array("d", [1.0]), collections.deque([1], 3), collections.Counter("aa"),
    collections.OrderedDict(a=1), collections.defaultdict(list, a=[1]), collections.ChainMap({"a": 1}),
    datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc), datetime.date(2024, 1, 1), datetime.timedelta(1),
    decimal.Decimal("1.10"), fractions.Fraction(1, 3), ipaddress.ip_address("127.0.0.1"), pathlib.Path("/a/b"),
    pathlib.PurePosixPath("c"), uuid.UUID(int=5), types.SimpleNamespace(a=1), int, list[int], int | None, type(None),
    collections.abc.Callable[[int], str] if hasattr(collections, "abc") else None, types.MappingProxyType({"a": 1}),
    ValueError("v"), KeyError, zoneinfo.ZoneInfo("UTC"),
]
def f(x):
    return VALUES
compare = False

## paths
import pathlib
HOME = pathlib.Path("/a/b")
def f(x):
    return HOME / str(x), pathlib.PurePath("z"), HOME.name

## iterators and random state
import random
rng = random.Random(5)
state = rng.getstate()
def f(x):
    r = random.Random()
    r.setstate(state)
    return r.random(), iter([1, 2]).__next__()

## typing values
import typing
from typing import Optional, Union, Callable, Literal, Annotated, TypeVar, ParamSpec
T = TypeVar("T", bound=int)
Q = ParamSpec("Q")
HINTS = [Optional[int], list[T], Callable[[int], str], Literal["a"], Annotated[int, 5], typing.Any]
def deco(function: Callable[Q, T]) -> Callable[Q, T]:
    return function
@deco
def f(x: "Optional[T]") -> Union[int, str]:
    return x, len(HINTS), T.__name__

## shipped class instances as globals, in containers and as keys
from dataclasses import dataclass
@dataclass(frozen=True)
class Key:
    k: int
TABLE = {Key(1): "one", Key(2): "two"}
NESTED = [(Key(1), {"x": Key(2)})]
def f(x):
    return TABLE[Key(1)], NESTED, TABLE, Key(x)

## a class refers to itself and to a later one
class Node:
    def __init__(self, value, next=None):
        self.value, self.next = value, next
    def append(self, value):
        return Node(value, self)
    def tree(self):
        return Leaf()
    def __eq__(self, other):
        return (self.value, self.next) == (other.value, other.next)
    def __repr__(self):
        return f"Node({self.value}, {self.next})"
class Leaf(Node):
    def __init__(self):
        super().__init__("leaf")
Node.root = Node(0)
f = lambda x: (Node(1).append(2), Node(1).tree(), Node.root)

## classes come home as values
class Made:
    size = 1
    def hello(self):
        return self.size
f = lambda x: Made

## functions come home as values
def g(x):
    return x + 1
f = lambda x: [h(5) for h in [g, (lambda y: y * x)]]

## functions and classes as arguments
def key(x):
    return -x
class Item:
    def __init__(self, n):
        self.n = n
    def __repr__(self):
        return f"Item{self.n}"
    def __eq__(self, other):
        return self.n == other.n
def f(items, function):
    return sorted((i.n for i in items), key=function), items[0]
args = ([Item(3), Item(5)], key)

## module by value
import cloudpickle, linecache, sys, types
module = types.ModuleType("portable_local_module")
_text = """LIMIT = 5

def helper(x):
    return inner(x) + LIMIT

def inner(x):
    return x * 2

class Thing:
    def __repr__(self):
        return "Thing!"
    def __eq__(self, other):
        return type(self) is type(other)
"""
linecache.cache["portable_local_module.py"] = (len(_text), None, _text.splitlines(True), "portable_local_module.py")
exec(compile(_text, "portable_local_module.py", "exec"), module.__dict__)
helper, Thing = module.helper, module.Thing
f = lambda x: (helper(x), Thing())

## a local class that is made in the function comes home
def f(x):
    class Found:
        def __init__(self, n):
            self.n = n
        def __repr__(self):
            return f"Found({self.n})"
        def __eq__(self, other):
            return self.n == other.n
    return [repr(Found(x)), Found(x).n]

## type parameters
from dataclasses import dataclass
def first[T](xs: list[T], default: T | None = None) -> T:
    kind = T
    return xs[0], kind.__name__
class Stack[T]:
    def __init__(self) -> None:
        self.items: list[T] = []
    def push(self, item: T) -> None:
        self.items.append(item)
@dataclass
class Pair[A, B]:
    a: A
    b: B
def f(x):
    s = Stack[int]()
    s.push(x)
    return first([x]), s.items, Pair(1, "b")

## quotes inside f-strings
def f(x):
    d = {"k": x}
    return f"{d["k"]} {'\\n'.join(["a", "b"])!r}"
'''

_SINCE = {"type parameters": (3, 12), "quotes inside f-strings": (3, 12)}


def rows() -> list[Row]:
    """All kinds."""
    found = []
    for block in re.split(r"^## ", _TEXTS, flags=re.MULTILINE)[1:]:
        name, _, text = block.partition("\n")
        found.append(Row(name, text, _SINCE.get(name, (3, 11))))
    return found
