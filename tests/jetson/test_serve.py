"""Frames over HTTP: what is answered, what is refused, and that one bad client harms no other."""

import http.client
import io
import json
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from jetson import Runtime
from jetson.errors import BadInput, EngineError, StorageError
from jetson.listen import on_port, on_socket
from jetson.metrics import Metrics
from jetson.serve import MOST_BYTES, Service
from tests.bundles import fake_profile, tiny_bundle

FRAME = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
RAW = {"Content-Type": "application/octet-stream", "Frame-Shape": "20x30x3"}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    bundle = tiny_bundle(tmp_path_factory.mktemp("serve"), channels=3)
    made = Runtime.load(bundle, fake_profile(bundle, segment_ms=0.2, branch_ms=0.1))
    yield made
    made.close()


@pytest.fixture
def served(runtime):
    service = Service(runtime, Metrics([e.name for e in runtime.bundle.manifest.exits]))
    server = on_port(service, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    port = server.server_address[1]

    def ask(method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        kind = response.getheader("Content-Type")
        return response.status, json.loads(content) if kind == "application/json" else content.decode()

    yield SimpleNamespace(ask=ask, port=port, service=service)
    server.shutdown()
    thread.join()
    server.server_close()


def image_file(frame, kind="PNG"):
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(frame).save(content, kind)
    return content.getvalue()


def test_raw_pixels_and_an_image_file_are_the_same_frame(served, runtime):
    status, raw = served.ask("POST", "/infer", FRAME.tobytes(), RAW)
    assert status == 200
    expected = runtime.infer(FRAME)
    assert raw["exit"] == expected.exit and raw["class"] == expected.class_index and raw["label"] == expected.label
    assert raw["budget_ms"] is None and raw["elapsed_ms"] > raw["waited_ms"] > 0.0
    status, image = served.ask("POST", "/infer", image_file(FRAME), {"Content-Type": "image/png"})
    assert status == 200
    assert (image["exit"], image["class"]) == (raw["exit"], raw["class"])
    assert image["confidence"] == pytest.approx(raw["confidence"], abs=0.05)  # of the planner's choice, frame by frame


def test_a_budget_counts_from_the_request(served):
    for path, headers in (("/infer?budget_ms=5000", {}), ("/infer", {"Budget-Ms": "5000"})):
        status, answer = served.ask("POST", path, FRAME.tobytes(), RAW | headers)
        assert status == 200 and answer["met_deadline"] is True
        assert answer["budget_ms"] == pytest.approx(5000.0, abs=1e-3)
    status, answer = served.ask("POST", "/infer?budget_ms=0", FRAME.tobytes(), RAW)
    assert status == 200 and answer["met_deadline"] is False
    status, answer = served.ask("POST", "/infer?budget_ms=inf", FRAME.tobytes(), RAW)
    assert status == 200 and answer["budget_ms"] is None


@pytest.mark.parametrize(
    ("path", "headers", "body", "words"),
    [
        ("/infer?budget_ms=soon", RAW, FRAME.tobytes(), "a number of milliseconds, not 'soon'"),
        ("/infer?budget_ms=nan", RAW, FRAME.tobytes(), "NaN"),
        ("/infer?budget_ms=-1", RAW, FRAME.tobytes(), "negative"),
        ("/infer", RAW | {"Frame-Shape": "20x31x3"}, FRAME.tobytes(), "1800 bytes are no uint8 frame of 20x31x3"),
        ("/infer", {"Content-Type": "application/octet-stream"}, FRAME.tobytes(), "Frame-Shape: HEIGHTxWIDTHxCHANNELS"),
        ("/infer", RAW | {"Frame-Shape": "20x30x-3"}, FRAME.tobytes(), "Frame-Shape"),
        ("/infer", RAW | {"Frame-Shape": "30x30x2"}, bytes(1800), "height x width x 3"),
        ("/infer", {"Content-Type": "image/png"}, b"\x89PNG\r\n\x1a\n", "not a PNG, JPEG, BMP or WebP image"),
        ("/infer", {}, b"", "not a PNG"),
    ],
)
def test_what_is_no_frame_or_no_budget_is_refused_in_a_line(served, path, headers, body, words):
    status, answer = served.ask("POST", path, body, headers)
    assert status == 400 and words in answer["error"] and "\n" not in answer["error"]
    assert served.ask("POST", "/infer", FRAME.tobytes(), RAW)[0] == 200


def test_other_paths_and_bodies_without_a_length_are_refused(served):
    assert served.ask("GET", "/infer")[0] == 404 == served.ask("POST", "/other", b"x")[0]
    assert served.ask("PUT", "/infer", b"x")[0] == 501
    with socket.create_connection(("127.0.0.1", served.port), 20) as raw:
        raw.sendall(b"POST /infer HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 411 ")
    with socket.create_connection(("127.0.0.1", served.port), 20) as raw:
        raw.sendall(f"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


def test_clients_that_hang_up_or_talk_nonsense_harm_nobody(served, capsys):
    for said in (b"", b"\x00\xff\r\n\r\n", b"POST /infer HTTP/1.1\r\nContent-Length: 1800\r\n\r\nhalf"):
        with socket.create_connection(("127.0.0.1", served.port), 20) as raw:
            raw.sendall(said)
    assert served.ask("GET", "/health")[0] == 200
    assert "Traceback" not in capsys.readouterr().err


def test_one_connection_carries_many_frames(served):
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    for _ in range(5):
        connection.request("POST", "/infer", FRAME.tobytes(), RAW)
        response = connection.getresponse()
        assert response.status == 200 and json.loads(response.read())["exit"] >= 1
    connection.close()


def test_many_clients_at_once_are_all_answered_and_counted(served):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: served.ask("POST", "/infer?budget_ms=9000", FRAME.tobytes(), RAW), range(40)))
    assert all(status == 200 for status, _ in found)
    status, text = served.ask("GET", "/metrics")
    assert status == 200 and "offramp_latency_seconds_count 40\n" in text
    assert 'offramp_deadlines_total{met="true"} 40\n' in text


def test_health_says_what_is_loaded(served, runtime):
    status, found = served.ask("GET", "/health")
    assert status == 200 and found["exits"] == [e.name for e in runtime.bundle.manifest.exits]
    assert found["frame"] == {"height": 8, "width": 8, "channels": 3} and found["policy"] == "planner"


def test_an_engine_that_fails_is_the_servers_fault_and_counted(served, monkeypatch):
    def fail(*_):
        raise EngineError("unit head failed")

    monkeypatch.setattr(served.service.runtime, "infer", fail)
    status, answer = served.ask("POST", "/infer", FRAME.tobytes(), RAW)
    assert status == 500 and answer["error"] == "unit head failed"
    assert "offramp_failures_total 1\n" in served.ask("GET", "/metrics")[1]


def test_a_port_that_is_taken_is_one_line(served):
    with pytest.raises(BadInput, match=f"cannot listen on 127.0.0.1:{served.port}"):
        on_port(served.service, "127.0.0.1", served.port)
    with pytest.raises(BadInput, match="choose another"):
        on_port(served.service, "host.invalid", 0)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_a_unix_socket_is_this_users_and_a_dead_one_is_replaced(runtime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    place = tmp_path / "s"
    service = Service(runtime, Metrics([]))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("s")
    server = on_socket(service, place)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        with pytest.raises(BadInput, match="another process listens there"):
            on_socket(service, place)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect("s")
            head = "POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
            head += f"Frame-Shape: 20x30x3\r\nContent-Length: {FRAME.size}\r\nConnection: close\r\n\r\n"
            client.sendall(head.encode() + FRAME.tobytes())
            said = b"".join(iter(lambda: client.recv(1 << 16), b""))
        assert said.startswith(b"HTTP/1.1 200 ") and json.loads(said.partition(b"\r\n\r\n")[2])["exit"] >= 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not place.exists()
    place.write_text("a file")
    with pytest.raises(BadInput, match="is no socket"):
        on_socket(service, place)
    assert place.read_text() == "a file"
    with pytest.raises(StorageError):
        on_socket(service, tmp_path / "absent" / "s")
