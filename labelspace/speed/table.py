"""What ``labelspace bench`` measured as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# the hand-written loop, or where a model has none, its default recipe
HEADER = ("workload", "who", "rate", "of the hand-written loop: median (min-max)", "of the floor")


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of a table of everything that was measured, under :data:`HEADER`."""
    copied = found.get("copy_rate", 0.0)
    return [row for key, each in found["workloads"].items() for row in _rows(key, each, found["multiply_rate"], copied)]


def _rows(key: str, each: dict[str, Any], multiply: dict[str, float], copied: float) -> Iterator[tuple[str, ...]]:
    title = f"({key}) {each['title']}"
    if "calls_per_step" in each:
        title += f"; {each['calls_per_step']:,} calls a step"
    if "contestants" in each:
        for who, measured in each["contestants"].items():
            rate = measured["rate"]["median"]
            if who.removesuffix(", default recipe") in each.get("calls", {}):
                who += f", {each['calls'][who.removesuffix(', default recipe')]:,} calls a step"
            kind, share = "bfloat16" if "auto" in who and each["bfloat16"] else "float32", ""
            if "recipe" not in who:  # whose steps are other ones
                share = f"{100 * rate * each['operations_per_sample'] / multiply[kind]:.0f}% ({kind})"
                if copied and "bytes_per_sample" in each:
                    share += f", {100 * rate * each['bytes_per_sample'] / copied:.0f}% (traffic)"
            if who in each.get("compiling_seconds", {}):
                who += f" ({each['compiling_seconds'][who]:.0f} s before)"
            yield title, who, f"{rate:,.0f} {each['unit']}", _spread(measured.get("ratio")), share
            title = ""
    elif "models" in each:
        for model, measured in each["models"].items():
            if "median" in measured:
                yield title, model, f"{measured['median']:.1f} {each['unit']}, 95%: {measured['p95']:.1f}", "", ""
            else:
                for what, one in measured.items():
                    ratio = f"{_spread(one['ratio'])} of training" if "ratio" in one else ""
                    yield title, f"{model}: {what}", f"{one['rate']['median']:,.0f} {each['unit']}", ratio, ""
                    title = ""
            title = ""
    elif "held" in each:
        for one in each["held"]:
            held = f"{one['most_while_training_mb']['RssAnon']:,.0f} MB at most"
            yield title, f"{one['images']:,} images, {one['store_mb']:,.0f} MB", held, "", ""
            title = ""
    else:
        for what, one in each["stores"].items():
            yield title, what, f"{one['rate']:,.0f} {each['unit']}", "", ""
            title = ""


def _spread(ratio: dict[str, float] | None) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})" if ratio else ""
