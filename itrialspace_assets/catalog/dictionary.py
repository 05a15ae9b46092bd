"""The data dictionary in Markdown: every table, column and rule of the registry."""

from itrialspace_assets.records.tables import TABLES


def dictionary() -> str:
    """The data dictionary as Markdown."""
    lines = ["# Data dictionary", "", "Generated from the table registry by `its dictionary`."]
    for table in TABLES.values():
        place = "/".join(("tables", table.name, *(f"<{p}>" for p in table.partition), "part.parquet"))
        lines += ["", f"## {table.name}", "", f"{table.description} Key: {', '.join(table.key)}. File: `{place}`.", ""]
        lines += ["| column | type | unit | null | meaning |", "|---|---|---|---|---|"]
        for c in table.columns:
            allowed = f" ({', '.join(c.allowed)})" if c.allowed else ""
            lines.append(
                f"| {c.name} | {c.type} | {c.unit} | {'yes' if c.nullable else ''} | {c.description}{allowed} |"
            )
        if table.rules:
            lines += ["", "Rules over columns:", "", *(f"- {r.name}: {r.says} ({r.severity})" for r in table.rules)]
        if table.references:
            lines += ["", "References:", ""]
            lines += [f"- ({', '.join(a)}) → {t} ({', '.join(b)})" for a, t, b in table.references]
    return "\n".join(lines) + "\n"
