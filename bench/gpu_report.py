"""The report of gpu_check.py: what each stage found, in Markdown for people and in JSON for programs."""
import dataclasses
import datetime
import json
import pathlib
import re
import time


@dataclasses.dataclass
class Result:
    """A stage's result. `data` is for the JSON report alone, `text` for the other."""
    outcome: str  # "passed", "FAILED" or "left out"
    text: str
    data: object = None


class Report:
    def __init__(self, folder: pathlib.Path):
        """Nothing is written before the device has a name."""
        self.folder, self.device, self.stages = folder, None, []
        self.begin = time.monotonic()

    @property
    def failed(self):
        return [stage["title"] for stage in self.stages if stage["outcome"] == "FAILED"]

    def paths(self):
        stem = re.sub(r"\W+", "_", self.device or "none").strip("_").lower()
        return [self.folder / f"gpu_{stem}.{kind}" for kind in ("md", "json")]

    def run(self, title, limit, stage):
        """Runs stage(limit), which returns a Result, and keeps that at once: what comes next may not end."""
        print(f"== {title} (at most {limit} s)", flush=True)
        begin = time.monotonic()
        try:
            result = stage(limit)
        except Exception as error:  # a stage's fault must not take the others with it
            result = Result("FAILED", f"{type(error).__name__}: {error}")
        seconds = round(time.monotonic() - begin, 1)
        self.stages.append({"title": title, "outcome": result.outcome, "seconds": seconds, "limit": limit,
                            "text": result.text.strip(), "data": result.data})
        print(f"{result.text.strip()}\n== {title}: {result.outcome}, {seconds} s", flush=True)
        self.write()
        return result

    def outcome(self):
        return "FAILED: " + ", ".join(self.failed) if self.failed else "nothing failed"

    def write(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        page, values = self.paths()
        seconds = round(time.monotonic() - self.begin)
        lines = [f"# {self.device or 'No GPU'}", "",
                 f"{datetime.date.today()}, `bench/gpu_check.py`, {seconds} s: {self.outcome()}.", ""]
        for stage in self.stages:
            lines += [f"## {stage['title']}: {stage['outcome']}, {stage['seconds']} s", "", stage["text"], ""]
        page.write_text("\n".join(lines))
        values.write_text(json.dumps({"device": self.device, "date": str(datetime.date.today()), "seconds": seconds,
                                      "failed": self.failed, "stages": self.stages}, indent=1) + "\n")
