"""Memory over time as an SVG that any browser shows."""

from collections.abc import Mapping, Sequence

WIDTH, ROW, LEFT = 900, 90, 150
COLOURS = ("#3366cc", "#dc3912", "#109618", "#990099", "#0099c6", "#dd4477", "#b82e2e")


def plot(memory: Mapping[str, Sequence[tuple[float, float]]], kills: Sequence[tuple[float, str]]) -> str:
    """A row for each process, each from nothing to its own peak (MiB), with a line where somebody was killed."""
    end = max((at for values in memory.values() for at, _ in values), default=1.0) or 1.0

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * at / end

    size = f'width="{WIDTH}" height="{ROW * len(memory) + 40}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">']
    for number, (name, values) in enumerate(memory.items()):
        base, peak = ROW * (number + 1), max(mib for _, mib in values)
        points = " ".join(f"{x(at):.1f},{base - (ROW - 20) * mib / peak:.1f}" for at, mib in values)
        parts.append(f'<text x="5" y="{base - 30}">{name}</text><text x="5" y="{base - 14}" fill="#666">peak {peak:,.0f} MiB</text>')
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{base}" y2="{base}" stroke="#ccc"/>')
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="1.5"/>')
    for at, name in kills:
        parts.append(f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="0" y2="{ROW * len(memory)}" stroke="#999" stroke-dasharray="3 3"/>')
        parts.append(f'<text x="{x(at):.1f}" y="{ROW * len(memory) + 14}" fill="#999" font-size="9">{name} killed</text>')
    parts.append(f'<text x="{LEFT}" y="{ROW * len(memory) + 32}">{end / 60:.0f} minutes</text></svg>')
    return "\n".join(parts)
