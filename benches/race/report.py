"""From what was measured to a row, and from rows to Markdown."""

import statistics

GIB = 1 << 30

# The limit for reading is no registry: nobody is held against it.
LIMIT = "nginx"

MODES = {
    "clear": "In the clear, without a login",
    "tls": "Over TLS 1.3",
    "login": "In the clear, with a login",
}


def row(work, mode, measured):
    """The figures of a work in a mode, by server."""
    servers = {name: figures(work.unit, of["rounds"]) | reason(of) for name, of in measured.items()}
    best = max((of["value"]["median"] for name, of in servers.items() if name not in ("drift", LIMIT) and "value" in of), default=None)
    for of in servers.values():
        of["ratio"] = of["value"]["median"] / best if best and "value" in of else None
    return {"work": work.name, "title": work.title, "mode": mode, "unit": work.unit, "servers": servers}


def reason(of):
    return {"why": of["why"]} if "why" in of else {}


def figures(unit, rounds):
    if not rounds:
        return {}
    by_bytes = unit == "GB/s"
    value = (lambda said: said["bytes"] / said["seconds"] / 1e9) if by_bytes else (lambda said: said["requests"] / said["seconds"])
    # Of a GiB, or of a thousand requests.
    cpu = (lambda said: said["cpu_seconds"] * GIB / said["bytes"]) if by_bytes else (lambda said: said["cpu_seconds"] * 1000 / said["requests"])
    return {
        "value": spread(value(said) for said in rounds),
        "cpu_seconds": spread(cpu(said) for said in rounds),
        "peak_mib": spread(said["peak_bytes"] / 2**20 for said in rounds),
        "p50_ms": spread(said["p50_ms"] for said in rounds),
        "p99_ms": spread(said["p99_ms"] for said in rounds),
        "rounds": rounds,
    }


def spread(values):
    values = sorted(values)
    return {"median": statistics.median(values), "min": values[0], "max": values[-1]}


def number(value):
    """Three figures that count."""
    if value >= 1000:
        return f"{round(value, -max(0, len(str(int(value))) - 3)):,.0f}"
    return f"{value:.3g}"


def between(of):
    return f"{number(of['min'])}–{number(of['max'])}"


def markdown(result):
    machine = result["machine"]
    lines = ["# The race", ""]
    if result["quick"]:
        lines += ["**Tiny sizes: this shows that everything works. Its figures say nothing.**", ""]
    lines += [
        f"{result['date']}, `{result['command']}`: {result['rounds']} round{'s' * (result['rounds'] > 1)}, seed {result['seed']}. "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"{machine['file_system']}; load {machine['load_at_end']:.1f} at the end. Cold: {result['cold']}.",
        "",
        "| server | version | durability | syncs of two blobs and a manifest |",
        "|---|---|---|---|",
        *(f"| {of['name']} | {of['version']} | {of['durable']} | {syncs(of['syncs'])} |" for of in result["servers"]),
        "",
    ]
    if result["left_out"]:
        lines += ["Left out:", "", *(f"- {of['what']}: {of['why']}" for of in result["left_out"]), ""]
    for mode, title in MODES.items():
        rows = [of for of in result["rows"] if of["mode"] == mode]
        if rows:
            lines += [f"## {title}", ""]
        for unit, per in (("GB/s", "CPU s per GiB"), ("1/s", "CPU s per 1000")):
            of_unit = [of for of in rows if of["unit"] == unit]
            if of_unit:
                lines += [*table(of_unit, unit, per), ""]
    lines += [
        "Medians of the rounds. The ratio is to the best of the registries other than Drift; nginx, which serves the same "
        "bytes as files, is the limit for reading. P50 and P99 are of one piece of work. — stands where a server failed:",
        "",
        *failures(result["rows"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def syncs(calls):
    if calls is None:
        return "not looked at"
    return ", ".join(f"{count} {name}" for name, count in sorted(calls.items())) or "none"


def table(rows, unit, per):
    yield f"| work | server | {unit} | min–max | ratio | {per} | peak MiB | P50 ms | P99 ms |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for row in rows:
        for place, (name, of) in enumerate(ordered(row["servers"])):
            title = row["title"] if place == 0 else ""
            if "value" not in of:
                yield f"| {title} | {name} | — | | | | | | |"
                continue
            ratio = f"{of['ratio']:.2f}" if of["ratio"] else ""
            others = [number(of[key]["median"]) for key in ("cpu_seconds", "peak_mib", "p50_ms", "p99_ms")]
            yield f"| {title} | {name} | {number(of['value']['median'])} | {between(of['value'])} | {ratio} | {' | '.join(others)} |"


def ordered(servers):
    """Drift first, the limit last."""
    return sorted(servers.items(), key=lambda item: (item[0] != "drift", item[0] == LIMIT, item[0]))


def failures(rows):
    said = []
    for row in rows:
        for name, of in ordered(row["servers"]):
            if "why" in of:
                said.append(f"- {row['title']} ({row['mode']}), {name}: {' '.join(of['why'].split())[:300]}")
    return said or ["- nowhere."]
