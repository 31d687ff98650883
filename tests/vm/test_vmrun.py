# SPDX-License-Identifier: GPL-2.0-only
"""vmrun keeps its word: output and status are the command's, it always ends, and no qemu stays behind."""

import re
import subprocess
import time

import pytest

from vmlib import HERE


@pytest.fixture
def vmrun(any_kernel):
    """vmrun(word, …) → what it did, and how long that took, in seconds."""

    def run(*words, kernel=any_kernel):
        start = time.monotonic()
        answer = subprocess.run([HERE / "vmrun", "-K", kernel, *words], capture_output=True, timeout=300, check=False)
        return answer, time.monotonic() - start

    return run


def test_passes_on_output_and_status(vmrun):
    script = "for i in 1 2 3; do echo line $i; done; echo error >&2; printf '\\0\\r\\n\\377<<exit 0 0>>'; exit 7"
    answer, _ = vmrun("--", "bash", "-c", script)
    assert answer.stdout == b"line 1\nline 2\nline 3\nerror\n\0\r\n\xff<<exit 0 0>>"
    assert answer.returncode == 7


def test_takes_files_with_libraries(vmrun, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a b").write_text("content")
    answer, _ = vmrun(
        *("--file", f"{tmp_path}/folder:/data", "--file", "/usr/bin/dpkg-deb:/root/dpkg-deb"),
        *("--", "bash", "-c", "cat '/data/a b' && ./dpkg-deb --version"),
    )
    assert answer.returncode == 0, answer
    assert answer.stdout.startswith(b"contentDebian")


def test_ends_what_takes_too_long(vmrun):
    answer, seconds = vmrun("--timeout", "2", "--", "sh", "-c", "echo begun; sleep 1000")
    assert answer.stdout == b"begun\n"
    assert answer.returncode == 124
    assert seconds < 60


def test_output_comes_at_once(any_kernel):
    """What a command has said is passed on while it runs."""
    words = [HERE / "vmrun", "-K", any_kernel, "--", "sh", "-c", "echo '<a'; echo b; sleep 1000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == b"<a\n"
        assert process.stdout.readline() == b"b\n"
        process.terminate()
        assert process.wait(timeout=10) == 130


def test_tries_a_dead_boot_once_more(vmrun):
    answer, _ = vmrun("--append", "rdinit=/nowhere", "--", "true")
    assert answer.returncode == 125
    assert answer.stdout.count(b"trying once more") == 1
    assert re.search(rb"panic", answer.stderr)


def test_refuses_what_is_not_there(vmrun):
    for answer, _ in (vmrun("--", "true", kernel="2.4"), vmrun("--file", "/nowhere", "--", "true")):
        assert answer.returncode == 125
        assert b"there is no" in answer.stderr
