"""How a hand writes the ten digits: lines for tests to draw."""

import numpy as np

Line = list[tuple[float, float]]


def arc(middle: tuple[float, float], radii: tuple[float, float], begin: float, end: float) -> Line:
    """Part of an ellipse; degrees, clockwise from the right."""
    angles = np.radians(np.linspace(begin, end, 40))
    (x, y), (wide, high) = middle, radii
    return [(x + wide * float(np.cos(angle)), y + high * float(np.sin(angle))) for angle in angles]


STROKES: dict[int, list[Line]] = {
    0: [arc((0.5, 0.5), (0.33, 0.48), -90, 270)],
    1: [[(0.45, 0.12), (0.55, 0.02), (0.5, 0.98)]],
    2: [[*arc((0.48, 0.3), (0.32, 0.28), 190, 380), (0.2, 0.95), (0.85, 0.95)]],
    3: [arc((0.45, 0.27), (0.3, 0.25), 200, 440) + arc((0.45, 0.74), (0.34, 0.25), -90, 150)],
    4: [[(0.35, 0.03), (0.15, 0.55), (0.85, 0.55)], [(0.68, 0.1), (0.62, 0.98)]],
    5: [[(0.8, 0.05), (0.3, 0.05), (0.25, 0.45), *arc((0.45, 0.68), (0.34, 0.3), -110, 150)]],
    6: [[(0.7, 0.03), (0.4, 0.3), *arc((0.5, 0.7), (0.3, 0.27), 180, 540)]],
    7: [[(0.15, 0.07), (0.85, 0.07), (0.4, 0.97)]],
    8: [arc((0.5, 0.26), (0.25, 0.23), 90, -270) + arc((0.5, 0.74), (0.3, 0.25), -90, 270)],
    9: [[*arc((0.5, 0.3), (0.28, 0.27), 0, -360), (0.78, 0.3), (0.7, 0.97)]],
}
"""How a hand writes each digit, within a square of side 1, downwards."""
