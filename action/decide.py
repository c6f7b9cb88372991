"""Exit code 1 if the report holds an outcome that is to fail the job; 2 if what is asked for is no outcome."""

import json
import sys
from pathlib import Path

summary = {
    outcome.replace(" ", "-"): count for outcome, count in json.loads(Path(sys.argv[1]).read_text())["summary"].items()
}
asked = [each.strip() for each in sys.argv[2].split(",") if each.strip()]
if unknown := [each for each in asked if each not in summary]:
    print(f"::error::fail-on is {', '.join(unknown)}; expected some of {', '.join(summary)}.")
    sys.exit(2)
found = [f"{summary[outcome]} {outcome}" for outcome in asked if summary[outcome]]
if found:
    print(f"::error::Morelli: {', '.join(found)}. The report says which files.")
sys.exit(1 if found else 0)
