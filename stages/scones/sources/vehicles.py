"""Draw vehicles from the side, each in its own pose and colours, with lines, areas and circles.

A drawing may have traits of another class (the argument after the random generator), so that classifiers are unsure of it.
"""

from collections.abc import Callable, Sequence

from numpy.random import Generator
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]


class Sketch:
    """A drawing on a canvas in a vehicle's own units: rear wheel at (0, 0), front wheel at (1, 0), upwards is positive.

    Points are computed with sums and products only, because the last bit of a sine differs between processors.
    """

    def __init__(self, canvas: Image.Image, random: Generator, size: float) -> None:
        """``size`` is the distance between the wheels as a fraction of the square ``canvas``."""
        self._draw = ImageDraw.Draw(canvas)
        size *= canvas.width
        half = random.uniform(-0.09, 0.09)  # tangent of half the angle of lean
        cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
        # View from the side (1) or more from the front, facing left or right.
        facing = (1 if random.random() < 0.5 else -1) * random.uniform(0.65, 1)
        self._right = size * cosine * facing, size * sine * facing
        self._up = size * sine, -size * cosine
        x, y = canvas.width * random.uniform(0.45, 0.55), canvas.width * random.uniform(0.55, 0.66)
        self._offset = x - 0.5 * self._right[0] - 0.2 * self._up[0], y - 0.5 * self._right[1] - 0.2 * self._up[1]
        self._unit = size / 100

    def _place(self, points: Points) -> list[tuple[float, float]]:
        (a, b), (c, d), (x, y) = self._right, self._up, self._offset
        return [(x + a * right + c * up, y + b * right + d * up) for right, up in points]

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """Draw a line. ``width`` is in hundredths of the distance between the wheels."""
        self._draw.line(self._place(points), colour, max(1, round(width * self._unit)))

    def area(self, points: Points, colour: Colour) -> None:
        self._draw.polygon(self._place(points), colour)

    def box(self, left: float, bottom: float, right: float, top: float, colour: Colour) -> None:
        self.area([(left, bottom), (right, bottom), (right, top), (left, top)], colour)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        self.area(_circle(centre, radius), colour)

    def ring(self, centre: tuple[float, float], radius: float, colour: Colour, width: float) -> None:
        self.line(_circle(centre, radius), colour, width)


TANGENTS = [step / 6 for step in range(6)]  # of half the angle
RIGHT_TO_TOP = [((1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)) for half in TANGENTS]
TOP_TO_LEFT = [(-y, x) for x, y in RIGHT_TO_TOP]
CIRCLE = [*RIGHT_TO_TOP, *TOP_TO_LEFT, *((-x, -y) for x, y in RIGHT_TO_TOP + TOP_TO_LEFT), (1.0, 0.0)]
"""Points of a circle of radius 1 around (0, 0)."""


def _circle(centre: tuple[float, float], radius: float) -> Points:
    return [(centre[0] + radius * x, centre[1] + radius * y) for x, y in CIRCLE]


def _bicycle(sketch: Sketch, random: Generator, heavy: bool) -> None:
    """Draw a bicycle. A ``heavy`` one has a motorcycle's tyres and something like an engine in the frame."""
    paint, dark = vivid(random), grey(random, 10, 55)
    radius, tyre = random.uniform(0.3, 0.36), random.uniform(5, 8) if heavy else random.uniform(3, 5.5)
    for x in (0.0, 1.0):
        if random.random() < 0.5:
            for across, along in CIRCLE[0:12:3]:
                ends = [(x - radius * across, -radius * along), (x + radius * across, radius * along)]
                sketch.line(ends, grey(random, 130, 200), 1)
        sketch.ring((x, 0), radius, dark, tyre)
    seat, pedals, head = (0.3, 0.48), (0.42, random.uniform(-0.06, 0.02)), (0.82, random.uniform(0.46, 0.56))
    step_through = random.random() < 0.25
    tubes = [[(0, 0), pedals, seat, (0, 0)], [pedals, head, (1, 0)], [seat, (0.42, 0.15) if step_through else head]]
    for tube in tubes:
        sketch.line(tube, paint, random.uniform(4, 6))
    if heavy:
        sketch.area([(0.34, -0.06), (0.62, 0.0), (0.68, 0.4), (0.36, 0.4)], grey(random, 20, 120))
    if heavy or random.random() < 0.15:  # panniers
        sketch.area([(-0.22, 0.4), (0.1, 0.4), (0.1, 0.08), (-0.22, 0.08)], vivid(random))
    sketch.ring(pedals, 0.07, dark, 3)
    sketch.line([(0.19, 0.56), (0.38, 0.56)], dark, 6)
    sketch.line([seat, (0.28, 0.56)], dark, 3)
    sketch.line([head, (head[0] - 0.03, 0.68), (0.78 + random.uniform(0, 0.14), 0.7)], dark, 4)
    if random.random() < 0.3:
        _rider(sketch, random, (0.28, 0.6), (0.8, 0.7), pedals)


def _motorcycle(sketch: Sketch, random: Generator, light: bool) -> None:
    """Draw a motorcycle. A ``light`` one has thin tyres and little around the engine."""
    paint, dark = vivid(random), grey(random, 10, 55)
    radius, tyre = random.uniform(0.25, 0.31), random.uniform(7, 10) if light else random.uniform(10, 15)
    for x in (0.0, 1.0):
        if not light:
            sketch.disc((x, 0), radius * random.uniform(0.4, 0.85), grey(random, 60, 170))
        sketch.ring((x, 0), radius, dark, tyre)
    seat = random.uniform(0.38, 0.46)
    sketch.line([(0, 0), (0.34, 0.02), (0.4, seat)], dark, 7)
    sketch.area([(0.3, -0.12), (0.66, -0.12), (0.7, 0.22), (0.34, 0.26)], grey(random, 40, 120))
    sketch.line([(-0.12, 0.02), (0.42, -0.1)], grey(random, 150, 230), random.uniform(4, 8))  # exhaust
    tank = random.uniform(0.02, 0.06) if light else random.uniform(0.12, 0.2)
    if not light:
        sketch.area([(0.34, 0.2), (0.74, 0.2), (0.78, seat), (0.3, seat)], paint if random.random() < 0.5 else dark)
    sketch.area([(0.38, seat - 0.08), (0.78, seat - 0.06), (0.76, seat + tank), (0.5, seat + tank)], paint)
    sketch.area([(-0.12, seat + 0.04), (0.42, seat - 0.02), (0.42, seat - 0.12), (-0.05, seat - 0.1)], dark)
    sketch.line([(1, 0), (0.8, seat + 0.15), (0.7, seat + 0.26)], grey(random, 90, 200), random.uniform(4, 7))
    if not light and random.random() < 0.5:  # fairing
        sketch.area([(0.68, 0.02), (0.88, 0.2), (0.86, seat + 0.22), (0.66, seat + 0.1)], paint)
    if not light:  # mudguards
        sketch.line([(0.82, radius), (1, radius + 0.05), (1.2, radius * 0.8)], paint, 6)
        sketch.line([(-0.28, radius * 0.7), (-0.1, radius + 0.06), (0.1, seat - 0.08)], paint, 6)
    if random.random() < 0.2:  # top case
        sketch.area([(-0.26, seat + 0.24), (0, seat + 0.24), (0, seat), (-0.26, seat)], grey(random, 20, 120))
    sketch.disc((0.86, seat + 0.1), 0.07, grey(random, 200, 255))  # headlight
    if random.random() < 0.3:
        _rider(sketch, random, (0.22, seat + 0.06), (0.72, seat + 0.26), (0.45, -0.1))


def _bus(sketch: Sketch, random: Generator, windowless: bool) -> None:
    """Draw a bus. A ``windowless`` one has doors and windows only at its front."""
    paint, glass, dark = vivid(random), grey(random, 25, 90), grey(random, 10, 55)
    top, floor, rear, front = random.uniform(0.5, 0.66), -0.02, -0.28, 1.26
    sketch.box(rear, floor, front, top, paint)
    if random.random() < 0.6:
        sketch.box(rear, floor, front, random.uniform(0.08, 0.16), pale(random, 90, 240))  # a stripe
    count = int(random.integers(5, 8))
    step = (front - rear - 0.22) / count
    for number in range(count - 1 if windowless else 0, count):
        left = rear + 0.05 + number * step
        sketch.box(left, 0.24, left + 0.82 * step, top - 0.09, glass)
    sketch.box(front - 0.13, 0.2, front, top - 0.07, grey(random, 120, 220))  # windscreen
    sketch.box(0.98, floor, 1.1, top - 0.09, glass)  # door
    for x in (0.0, 0.84):
        sketch.disc((x, floor), 0.15, dark)
        sketch.disc((x, floor), 0.07, grey(random, 120, 210))
    sketch.disc((front - 0.04, 0.06), 0.035, (250, 240, 190))


def _pickup_truck(sketch: Sketch, random: Generator, tall: bool) -> None:
    """Draw a pickup truck. A ``tall`` one has a tractor's large rear wheels and a box for its bed."""
    paint, glass, dark = vivid(random), grey(random, 25, 90), grey(random, 10, 55)
    belt, roof, bed = random.uniform(0.26, 0.32), random.uniform(0.5, 0.58), random.uniform(0.24, 0.3)
    sketch.area(
        [(-0.32, 0.02), (1.3, 0.02), (1.3, belt - 0.06), (0.86, belt), (0.36, belt), (0.36, bed), (-0.32, bed)], paint
    )
    sketch.area([(0.36, belt), (0.4, roof), (0.72, roof), (0.9, belt)], paint)
    sketch.area([(0.41, belt), (0.44, roof - 0.05), (0.56, roof - 0.05), (0.56, belt)], glass)
    sketch.area([(0.6, belt), (0.6, roof - 0.05), (0.71, roof - 0.05), (0.84, belt)], glass)
    if tall or random.random() < 0.3:  # a load
        height = random.uniform(0.2, 0.3) if tall else random.uniform(0.08, 0.16)
        sketch.box(-0.24, bed, 0.26, bed + height, pale(random, 60, 180))
    for x in (0.0, 1.0):
        radius = 0.25 if tall and not x else random.uniform(0.17, 0.2)
        sketch.disc((x, 0), radius, dark)
        sketch.disc((x, 0), 0.5 * radius, grey(random, 120, 210))
    sketch.disc((1.27, belt - 0.1), 0.04, (250, 240, 190))


def _rails(sketch: Sketch, random: Generator, level: float) -> None:
    for x in range(-8, 20):
        sketch.line([(0.12 * x, level - 0.03), (0.12 * x, level - 0.1)], grey(random, 60, 110), 5)
    sketch.line([(-1.2, level), (2.4, level)], grey(random, 90, 200), 4)


def _train(sketch: Sketch, random: Generator, road: bool) -> None:
    """Draw a train whose cars reach beyond the picture. One on a ``road`` has few wheels and shows no rails."""
    paint, glass, dark = vivid(random), grey(random, 25, 90), grey(random, 10, 55)
    top, nose = random.uniform(0.42, 0.54), random.uniform(0.06, 0.34)
    if not road:
        _rails(sketch, random, -0.14)
    sketch.area([(-1.4, 0.0), (1.25, 0.0), (1.25, 0.16), (1.25 - nose, top), (-1.4, top)], paint)
    if random.random() < 0.7:
        sketch.box(-1.4, 0.06, 1.24, 0.13, pale(random, 90, 240))
    for number in range(9):
        left = -1.3 + 0.24 * number
        sketch.box(left, 0.22, left + 0.16, top - 0.1, glass)
    sketch.area(
        [(1.05 - nose, 0.24), (1.2 - 0.4 * nose, 0.24), (1.22 - nose, top - 0.06), (1.05 - nose, top - 0.06)], glass
    )
    sketch.line([(-0.16, 0.0), (-0.16, top)], dark, 5)  # between two cars
    for x in (0.0, 0.9) if road else (-0.75, -0.55, 0.02, 0.22, 0.78, 0.98):
        sketch.disc((x, -0.06), 0.08, dark)
    sketch.disc((1.2, 0.08), 0.04, (250, 240, 190))


def _tractor(sketch: Sketch, random: Generator, low: bool) -> None:
    """Draw a tractor. A ``low`` one has wheels of nearly the same size and a pickup truck's low cab."""
    paint, glass, dark = vivid(random), grey(random, 90, 200), grey(random, 10, 55)
    large, small = (0.26, 0.2) if low else (random.uniform(0.36, 0.44), random.uniform(0.17, 0.24))
    roof = random.uniform(0.56, 0.64) if low else random.uniform(0.78, 0.92)
    hood = random.uniform(0.38, 0.46)
    sketch.area([(0.2, 0.08), (1.12, 0.08), (1.14, hood - 0.04), (0.5, hood), (0.2, hood)], paint)
    if random.random() < 0.75:  # otherwise there is no cab
        sketch.area([(-0.02, 0.34), (0.02, roof), (0.46, roof), (0.54, 0.34)], glass)
        for foot, head in (((-0.02, 0.34), (0.02, roof)), ((0.54, 0.34), (0.46, roof))):
            sketch.line([foot, head], paint, 4)
        sketch.box(-0.06, roof, 0.52, roof + 0.06, paint)
    else:
        sketch.line([(0.1, 0.4), (0.06, 0.56)], dark, 6)
        _rider(sketch, random, (0.14, 0.42), (0.46, 0.56), (0.4, 0.2))
    sketch.line([(0.84, hood - 0.02), (0.84, hood + random.uniform(0.2, 0.34))], dark, 5)  # exhaust
    for x, radius in ((0.08, large), (1.0, small)):
        sketch.disc((x, radius - 0.26), radius, dark)
        sketch.disc((x, radius - 0.26), 0.55 * radius, vivid(random) if random.random() < 0.7 else paint)


def _rider(
    sketch: Sketch, random: Generator, seat: tuple[float, float], hands: tuple[float, float], feet: tuple[float, float]
) -> None:
    coat, trousers, skin = vivid(random), vivid(random), (205, 160, 130)
    shoulder = (seat[0] + random.uniform(0.12, 0.3), seat[1] + random.uniform(0.36, 0.44))
    sketch.line([seat, (0.58, seat[1] - 0.12), feet], trousers, 9)
    sketch.line([seat, shoulder], coat, 15)
    sketch.line([shoulder, hands], coat, 6)
    sketch.disc((shoulder[0] + 0.06, shoulder[1] + 0.15), 0.1, vivid(random) if random.random() < 0.5 else skin)


DRAWINGS: dict[str, Callable[[Sketch, Generator, bool], None]] = {
    "bicycle": _bicycle,
    "bus": _bus,
    "motorcycle": _motorcycle,
    "pickup_truck": _pickup_truck,
    "tractor": _tractor,
    "train": _train,
}
"""By class, named as in CIFAR-100."""


def vivid(random: Generator) -> Colour:
    red, green, blue = random.permutation(random.integers([0, 10, 90], [60, 130, 230])).tolist()
    return red, green, blue


def pale(random: Generator, low: int, high: int) -> Colour:
    """Return a colour near a grey between ``low`` and ``high``."""
    level = random.integers(low, high)
    red, green, blue = (level + random.integers(-22, 23, 3)).clip(0, 255).tolist()
    return red, green, blue


def grey(random: Generator, low: int, high: int) -> Colour:
    return (int(random.integers(low, high)),) * 3
