"""From the report's JSON to the step's outputs and the table that GitHub shows under the run."""

import json
import os
import sys
from pathlib import Path

from morelli.attribution.propositions import chance

SHOWN = 50

report = json.loads(Path(sys.argv[1]).read_text())
with open(os.environ["GITHUB_OUTPUT"], "a") as outputs:
    for outcome, count in report["summary"].items():
        outputs.write(f"{outcome.replace(' ', '-')}={count}\n")

rows = [
    (verdict["outcome"], verdict["file"], "–" if verdict["p_value"] is None else chance(verdict["p_value"]))
    for verdict in report["verdicts"]
]
rows += [("refused", refused["file"], "–") for refused in report["refused"]]
counts = ", ".join(f"{count} {outcome}" for outcome, count in report["summary"].items())
lines = [f"### Morelli: {counts}", "", "| verdict | file | p-value |", "|---|---|---|"]
for outcome, file, p_value in rows[:SHOWN]:
    name = file.replace("|", "\\|").replace("`", "'").replace("\n", " ")
    lines.append(f"| {outcome} | `{name}` | {p_value} |")
if len(rows) > SHOWN:
    lines.append(f"\n… and {len(rows) - SHOWN} more in the report.")
lines += ["", report["limits"], ""]
with open(os.environ["GITHUB_STEP_SUMMARY"], "a") as summary:
    summary.write("\n".join(lines))
