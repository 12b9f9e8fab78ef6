"""`offramp serve`: from the command line to an answer, and how it ends."""

import http.client
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.bundles import fake_profile, tiny_bundle
from toolkit.cli import main

PATIENCE_S = 60


@pytest.fixture
def here(tmp_path, monkeypatch):
    bundle = tiny_bundle(tmp_path / "bundle")
    fake_profile(bundle).save(tmp_path / "profile.json")
    monkeypatch.chdir(tmp_path)
    return bundle


@pytest.mark.slow
def test_it_answers_until_it_is_told_to_end(here):
    words = [sys.executable, "-m", "toolkit", "serve", "bundle", "--profile", "profile.json", "--port", "0", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            port = int(re.search(r"listening on http://127\.0\.0\.1:(\d+) ", line)[1])
            assert json.loads(process.stdout.readline()) == {"listening": f"http://127.0.0.1:{port}"}
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
            headers = {"Content-Type": "application/octet-stream", "Frame-Shape": "8x8x1", "Budget-Ms": "900"}
            connection.request("POST", "/infer", np.zeros((8, 8), np.uint8).tobytes(), headers)
            answer = json.loads(connection.getresponse().read())
            assert answer["exit"] >= 1 and answer["met_deadline"] is True
            connection.request("GET", "/metrics")
            assert "offramp_latency_seconds_count 1\n" in connection.getresponse().read().decode()
            connection.close()
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=PATIENCE_S)[1]
        finally:
            process.kill()
    assert process.returncode == 0 and "no longer listening" in rest and "Traceback" not in rest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either --port or --socket"),
        (["--port", "1", "--socket", "s"], "give either --port or --socket"),
        (["--socket", "profile.json"], "profile.json: is there already, and is no socket"),
        (["--port", "0", "--policy", "best"], "no policy is called 'best'"),
    ],
)
def test_what_it_refuses_is_one_line(here, capsys, words, said):
    assert main(["serve", "bundle", "--profile", "profile.json", *words]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


@pytest.mark.slow
def test_run_tells_its_counts_while_it_runs(here, tmp_path):
    np.save(tmp_path / "frames.npy", np.zeros((3, 8, 8, 1), np.uint8))
    (tmp_path / "trace.csv").write_text("t_ms,budget_ms\n" + "".join(f"{20 * n},500\n" for n in range(1000)))
    words = "run bundle --profile profile.json --data frames.npy --budget-trace trace.csv --metrics-port 0"
    with subprocess.Popen(
        [sys.executable, "-m", "toolkit", *words.split()], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line = next(line for line in process.stderr if "metrics on" in line)
            port = int(re.search(r"http://127\.0\.0\.1:(\d+)/metrics", line)[1])
            count = 0
            while count < 2:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
                connection.request("GET", "/metrics")
                found = re.search(r"offramp_latency_seconds_count (\d+)", connection.getresponse().read().decode())
                connection.close()
                count = int(found[1])
        finally:
            process.kill()
