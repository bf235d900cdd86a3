"""What a server has done, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import accumulate

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds


class Counters:
    """Requests by model, protocol and status, and how long they took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))

    def add(self, model: str, method: str, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        self._requests[model, method, status] += 1
        self._seconds[model] += seconds
        place = next((i for i, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))
        self._buckets[model][place] += 1

    def text(self) -> str:
        """Return all counters.

        >>> counters = Counters()
        >>> counters.add("digits", "predict", 200, 0.002)
        >>> print(counters.text().splitlines()[2])
        torch_heads_requests_total{model="digits",method="predict",status="200"} 1
        """
        lines = [
            "# HELP torch_heads_requests_total Requests that were answered.",
            "# TYPE torch_heads_requests_total counter",
        ]
        for (model, method, status), count in sorted(self._requests.items()):
            labels = f'model="{_escaped(model)}",method="{method}",status="{status}"'
            lines.append(f"torch_heads_requests_total{{{labels}}} {count}")
        name = "torch_heads_request_seconds"
        lines += [f"# HELP {name} How long they took.", f"# TYPE {name} histogram"]
        for model, buckets in sorted(self._buckets.items()):
            own = f'model="{_escaped(model)}"'
            for bound, count in zip((*BOUNDS, "+Inf"), accumulate(buckets), strict=True):
                lines.append(f'{name}_bucket{{{own},le="{bound}"}} {count}')
            lines += [
                f"{name}_sum{{{own}}} {self._seconds[model]:.6f}",
                f"{name}_count{{{own}}} {sum(buckets)}",
            ]
        return "\n".join(lines) + "\n"


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
