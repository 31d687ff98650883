# SPDX-License-Identifier: GPL-2.0-only
"""What a peer sends and what a person writes, by libFuzzer with ASan and UBSan, for a bounded time."""

import os
import subprocess

import pytest

from bgp_lab import TOP

SECONDS = int(os.environ.get("SLB_FUZZ_SECONDS") or 10)


@pytest.mark.parametrize("target", ["bgp_message", "bgp_config"])
def test_fuzz(target, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    if target == "bgp_message":
        # A first byte that chooses a parser, and the least that each takes.
        (corpus / "open").write_bytes(bytes.fromhex("0004fde9005a0a6300010602040104000100"
                                                    "01")[:30])
        (corpus / "update").write_bytes(bytes.fromhex(
            "0100000018400101004002060201 0000fde94003040a630001c0080400010001 20c0000209"
            .replace(" ", "")))
    done = subprocess.run(
        [f"{TOP}/build/tests/fuzz/{target}_fuzz", f"-max_total_time={SECONDS}", "-max_len=4200",
         "-timeout=5", "-rss_limit_mb=1024", f"-artifact_prefix={tmp_path}/", str(corpus)],
        capture_output=True, text=True, timeout=SECONDS + 60)
    assert done.returncode == 0, done.stderr[-4000:]
