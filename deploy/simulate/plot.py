"""Latency and hit ratio by the number of replicas, as an SVG that any browser shows."""

from collections.abc import Mapping, Sequence

from deploy.simulate.cluster import Point

WIDTH, ROW, LEFT, BELOW = 900, 150, 190, 30
COLOURS = {"p95": "#dc3912", "adapters": "#3366cc", "prefixes": "#109618"}


def plot(sizes: Mapping[int, Sequence[Point]]) -> str:
    """A row for each size (accounts). Latency is drawn from nothing to its own peak, hit ratios from 0 to 1."""
    height = len(sizes) * ROW + BELOW
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">']
    for number, (accounts, points) in enumerate(sizes.items()):
        parts += _row(accounts, points, base=(number + 1) * ROW - BELOW)
    names = {"p95": "p95 of a draft", "adapters": "adapter is loaded", "prefixes": "prefix is cached"}
    parts += [
        f'<text x="{LEFT + 160 * place}" y="{height - 10}" fill="{COLOURS[key]}">{name}</text>'
        for place, (key, name) in enumerate(names.items())
    ]
    return "\n".join([*parts, "</svg>"])


def _row(accounts: int, points: Sequence[Point], base: float) -> list[str]:
    first, last = points[0].replicas, points[-1].replicas
    peak = max(point.p95 for point in points)
    high = ROW - 2 * BELOW

    def x(point: Point) -> float:
        return LEFT + (WIDTH - LEFT - 40) * (point.replicas - first) / max(1, last - first)

    def line(key: str, values: Sequence[float]) -> str:
        places = " ".join(f"{x(point):.1f},{base - high * value:.1f}" for point, value in zip(points, values, strict=True))
        return f'<polyline points="{places}" fill="none" stroke="{COLOURS[key]}" stroke-width="1.5"/>'

    return [
        f'<text x="5" y="{base - 40}">{accounts:,} accounts</text><text x="5" y="{base - 24}" fill="#666">p95 at most {peak:.2f} s</text>',
        f'<line x1="{LEFT}" x2="{WIDTH - 40}" y1="{base}" y2="{base}" stroke="#ccc"/>',
        *(f'<text x="{x(point):.1f}" y="{base + 14}" fill="#999" font-size="9">{point.replicas}</text>' for point in points),
        line("p95", [point.p95 / peak for point in points]),
        line("adapters", [point.adapter_hits for point in points]),
        line("prefixes", [point.prefix_hits for point in points]),
    ]
