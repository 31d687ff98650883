# SPDX-License-Identifier: GPL-2.0-only
"""Gets kernel packages from other Debian suites, through an apt of its own.

Sources, lists, cache and status live under the cache folder; of this machine's apt only the mirror it names and the way to reach
it (proxy, certificates) are used, and nothing of it is changed. Packages are signed by debian-archive-keyring as ever.
"""

import os
import re
import subprocess

from . import VmError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# A kernel is one package or, from 7.x on, a meta package with one each for image and modules.
KERNEL_PACKAGE = re.compile(r"linux-(?:image|binary|modules)-\d\S*")

CONFIGURATION = """\
Dir::State "{top}/state";
Dir::State::status "{top}/state/status";
Dir::Cache "{top}/cache";
Dir::Etc::sourcelist "{top}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
# A mirror that stands still is as good a source of a kernel to test with; signatures are checked all the same.
Acquire::Check-Valid-Until "false";
# The folder is the caller's own; apt's user could not write to it.
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


def mirrors():
    """This machine's mirror, and its mirror of security updates or None, as its apt sources name them."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', open("/etc/os-release").read(), re.MULTILINE))
    codename = release.get("VERSION_CODENAME", "")
    # Names all sources, in whichever form and file they are written, and needs no lists.
    answer = subprocess.run(["apt-get", "update", "--print-uris"], capture_output=True, text=True, check=False)
    found = {}
    for uri, suite in re.findall(r"^'(\S+)/dists/(\S+)/InRelease'", answer.stdout, re.MULTILINE):
        found.setdefault(suite, uri)
    # Some machines name the suite by its role, "stable".
    main = found.get(codename) or found.get("stable")
    if not main:
        raise VmError(f"the apt sources of this machine name no mirror of Debian {codename}; add one to /etc/apt")
    return main, found.get(f"{codename}-security") or found.get("stable-security")


class Apt:
    """apt for one suite. `top` is its folder; made where missing."""

    def __init__(self, top, suite):
        self.top = top
        self.suite = suite
        for name in ("state/lists/partial", "cache/archives/partial"):
            (top / name).mkdir(parents=True, exist_ok=True)
        (top / "state/status").touch()
        (top / "apt.conf").write_text(CONFIGURATION.format(top=top))
        signed = f" signed-by={KEYRING}" if os.path.exists(KEYRING) else ""
        main, security = mirrors()
        sources = [(main, suite)] + ([(security, f"{suite}-security")] if security and suite != "sid" else [])
        (top / "sources.list").write_text(
            "".join(f"deb [arch=amd64{signed}] {uri} {name} main\n" for uri, name in sources)
        )

    def _run(self, *words, cwd=None):
        environment = dict(os.environ, APT_CONFIG=str(self.top / "apt.conf"), LC_ALL="C")
        return subprocess.run(words, env=environment, cwd=cwd, capture_output=True, text=True, check=False)

    def update(self):
        """Reads the suite's package lists. One of two sources may fail: what counts is that the package is found."""
        answer = self._run("apt-get", "update", "-q")
        return "\n".join(re.findall(r"^[EW]: .*", answer.stdout + answer.stderr, re.MULTILINE))

    def _depends(self, package):
        answer = self._run("apt-cache", "show", "--no-all-versions", package)
        if answer.returncode:
            return None
        lines = re.findall(r"^Depends: (.*)", answer.stdout, re.MULTILINE)
        return KERNEL_PACKAGE.findall(lines[0]) if lines else []

    def kernel_packages(self, meta):
        """The packages that make up the kernel which `meta` names now; the first one names the version."""
        found, todo = [], list(self._depends(meta) or [])
        if not todo:
            raise VmError(f"no package {meta} in Debian {self.suite} from this machine's mirror")
        while todo:
            package = todo.pop(0)
            if package not in found:
                found.append(package)
                todo += self._depends(package) or []
        return found

    def download(self, package, directory):
        """Fetches one package; returns the path of its .deb."""
        answer = self._run("apt-get", "download", "-q", package, cwd=directory)
        files = sorted(directory.glob(f"{package}_*.deb"))
        if answer.returncode or not files:
            raise VmError(f"cannot download {package} of Debian {self.suite}: {answer.stderr.strip()}")
        return files[-1]
