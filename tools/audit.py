"""Look requirements.lock up among known vulnerabilities, where pip-audit and the network are at hand.

pip-audit is no dependency of the project: `pipx install pip-audit`, or uv on the PATH, is enough.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
# Advisories that were looked into and do not concern this project: id → why.
ACCEPTED: dict[str, str] = {}


def main() -> int:
    """Audit the locked packages, and return the exit status: 1 where there is a version to change to, 0 else."""
    command = _command()
    if command is None:
        print("not audited: pip-audit is not installed (`pipx install pip-audit`)")
        return 0
    options = ("--requirement", str(LOCK), "--disable-pip", "--require-hashes", "--progress-spinner", "off")
    done = subprocess.run((*command, *options, "--format", "json"), capture_output=True, text=True, check=False)
    try:
        packages = [package for package in json.loads(done.stdout)["dependencies"] if "vulns" in package]
    except (ValueError, KeyError):
        reason = done.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        print(f"not audited: pip-audit could not finish ({reason[0][:200]})")
        return 0
    if not packages:
        print("not audited: the index that pip asks here knows of no vulnerabilities of any package")
        return 0
    found = [(package, each) for package in packages for each in package["vulns"] if not _is_accepted(each)]
    for package, each in found:
        mended = ", ".join(each["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {each['id']}, mended in {mended}")
    print(f"{len(packages)} packages audited, {len(found)} known vulnerabilities")
    return int(any(each["fix_versions"] for _, each in found))


def _is_accepted(vulnerability: dict[str, Any]) -> bool:
    return bool(ACCEPTED.keys() & {vulnerability["id"], *vulnerability.get("aliases", ())})


def _command() -> tuple[str, ...] | None:
    if shutil.which("pip-audit"):
        return ("pip-audit",)
    return ("uvx", "pip-audit") if shutil.which("uvx") else None


if __name__ == "__main__":
    sys.exit(main())
