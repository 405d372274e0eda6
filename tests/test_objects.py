"""Clips as objects, in a bucket that a real S3 server keeps."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest
from buckets import SECRET, Bucket, puts, serving
from msgspec.structs import replace

from batchgen.disk import Disk
from batchgen.downloads import DownloadStopped
from batchgen.errors import StoreError, UsageError
from batchgen.events import SavedFile
from batchgen.moves import Relocation, carry_out
from batchgen.objects import ObjectStore, plain_http_of
from batchgen.world import Patience, World

BODY = b"\0\0\0\x18ftypmp42" + b"clip" * 50_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bucket")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Bucket]:
    with serving(folder) as found:
        yield found


@pytest.fixture
def bucket(server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return server


def store_of(bucket: Bucket, run: str, hold: float = 0.0) -> ObjectStore:
    world = World(patience=Patience(hold=hold))
    return ObjectStore(f"s3://{bucket.name}/night/{run}", world)


def made(folder: Path, name: str, body: bytes = BODY) -> tuple[SavedFile, Path]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    digest = hashlib.sha256(body).hexdigest()
    return SavedFile(name=name, bytes=len(body), sha256=digest), path


def test_a_clip_comes_back_as_it_was_put(bucket: Bucket, tmp_path: Path) -> None:
    store = store_of(bucket, "round")
    assert store.look() == {}
    file, path = made(tmp_path, "spring/Zürich~1.mp4")
    kept = store.keep(file.name, file, path, "p1")
    assert kept.store == store.url
    assert kept.name == file.name
    assert kept.sha256 == file.sha256
    answer = bucket.get("night/round/spring/Zürich~1.mp4")
    assert hashlib.sha256(answer.content).hexdigest() == file.sha256
    assert answer.headers["content-type"] == "video/mp4"
    assert store.look() == {file.name: file.bytes}
    assert not path.exists()
    assert bucket.uploads() == 0


def test_what_is_there_is_known_by_its_prediction(
    bucket: Bucket, tmp_path: Path
) -> None:
    file, path = made(tmp_path, "a.mp4")
    store_of(bucket, "known").keep("a.mp4", file, path, "p1")
    made(tmp_path, "a.mp4")
    later = store_of(bucket, "known")
    found = later.found("a.mp4", path, "p1")
    assert found is not None
    assert (found.sha256, found.bytes) == (file.sha256, file.bytes)
    assert later.found("a.mp4", path, "p2") is None
    assert later.found("b.mp4", path, "p1") is None
    assert not path.exists()  # what that life had left


def test_what_is_there_is_not_put_again(
    bucket: Bucket, folder: Path, tmp_path: Path
) -> None:
    file, path = made(tmp_path, "a.mp4")
    first = store_of(bucket, "twice").keep("a.mp4", file, path, "p1")
    before = len(puts(folder))
    made(tmp_path, "a.mp4")
    assert store_of(bucket, "twice").keep("a.mp4", file, path, "p1") == first
    assert len(puts(folder)) == before


def test_another_clip_of_that_name_is_never_overwritten(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("night/taken/a.mp4", b"mine")
    file, path = made(tmp_path, "a.mp4")
    kept = store_of(bucket, "taken").keep("a.mp4", file, path, "p1")
    assert kept.name == f"a~{file.sha256[:8]}.mp4"
    assert bucket.get("night/taken/a.mp4").content == b"mine"
    assert bucket.get(f"night/taken/{kept.name}").content == BODY
    made(tmp_path, "a.mp4")
    bucket.put(f"night/taken/b~{file.sha256[:8]}.mp4", b"theirs")
    bucket.put("night/taken/b.mp4", b"mine")
    with pytest.raises(StoreError, match="other objects have this name"):
        store_of(bucket, "taken").keep("b.mp4", file, path, "p1")
    assert path.exists()


def test_an_equal_object_without_facts_is_ours_by_its_bytes(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("night/copied/a.mp4", BODY)
    bucket.put("night/copied/a~0.mp4", BODY)
    file, path = made(tmp_path, "a.mp4")
    hashed = f"night/copied/a~{file.sha256[:8]}.mp4"
    bucket.put(hashed, BODY[:-1] + b"x")  # as long, and something else
    kept = store_of(bucket, "copied").keep("a.mp4", file, path, "p1")
    assert kept.name == "a.mp4"
    assert bucket.get(hashed).content.endswith(b"x")


def test_a_clip_and_its_sidecar_move(bucket: Bucket, tmp_path: Path) -> None:
    store = store_of(bucket, "moved")
    file, path = made(tmp_path, "a.mp4")
    kept = store.keep("a.mp4", file, path, "p1")
    store.explain("a.json", {"file": "a.mp4"})
    event = carry_out(Relocation("a" * 32, ((kept, "deep/b.mp4"),)), {store.url: store})
    assert event is not None
    assert [(move.source, move.target) for move in event.moves] == [
        ("a.mp4", "deep/b.mp4")
    ]
    mine = [key for key in bucket.names() if "/moved/" in key]
    assert mine == ["night/moved/deep/b.json", "night/moved/deep/b.mp4"]
    answer = bucket.get("night/moved/deep/b.mp4")
    assert answer.content == BODY
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["x-amz-meta-prediction"] == "p1"
    # Again, as after a crash before it was written down: it has moved already.
    assert store.move(kept, "deep/b.mp4") == "deep/b.mp4"
    assert store.move(kept, "elsewhere.mp4") is None


def test_a_move_overwrites_nothing(bucket: Bucket, tmp_path: Path) -> None:
    store = store_of(bucket, "full")
    file, path = made(tmp_path, "a.mp4")
    kept = store.keep("a.mp4", file, path, "p1")
    bucket.put("night/full/b.mp4", BODY)  # as many bytes, the same, and not ours
    name = store.move(kept, "b.mp4")
    assert name == f"b~{file.sha256[:8]}.mp4"
    assert bucket.get("night/full/b.mp4").content == BODY
    assert bucket.get(f"night/full/{name}").content == BODY
    assert bucket.get("night/full/a.mp4").status_code == 404


def test_a_move_that_died_after_the_copy_is_finished(
    bucket: Bucket, tmp_path: Path
) -> None:
    store = store_of(bucket, "half")
    file, path = made(tmp_path, "a.mp4")
    kept = store.keep("a.mp4", file, path, "p1")
    bucket.copy("night/half/a.mp4", "night/half/b.mp4")
    assert store.move(kept, "b.mp4") == "b.mp4"
    assert [key for key in bucket.names() if "/half/" in key] == ["night/half/b.mp4"]


def test_a_file_of_another_store_keeps_its_name(bucket: Bucket, tmp_path: Path) -> None:
    file, _ = made(tmp_path, "a.mp4")
    there = replace(file, store="s3://elsewhere/night")
    store = store_of(bucket, "own")
    moving = Relocation("a" * 32, ((there, "b.mp4"),))
    assert carry_out(moving, {store.url: store}) is None


# Trouble


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_told_before_money() -> None:
    store = ObjectStore("s3://nobody-has-this/night", World())
    with pytest.raises(StoreError, match="no such bucket") as caught:
        store.look()
    assert caught.value.advice.startswith("Nothing was submitted.")
    assert caught.value.rule == "no-bucket"


def test_a_bucket_that_cannot_be_reached_is_told(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(StoreError, match="cannot be reached"):
        store_of(bucket, "nowhere").look()


def test_keys_that_are_refused_are_told_and_not_shown(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = f"<Error><Code>AccessDenied</Code><Message>{SECRET}</Message></Error>"
    with answering(403, answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StoreError, match="refused") as caught:
            store_of(bucket, "denied").look()
    assert "AccessDenied" in caught.value.message
    assert SECRET not in f"{caught.value.message} {caught.value.advice}"


def test_an_answer_that_repeats_the_secret_does_not_get_it_shown(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(418, f"what a secret: {SECRET}") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StoreError) as caught:
            store_of(bucket, "teapot").look()
    assert "what a secret: [key]" in caught.value.message


def test_passing_trouble_is_borne_and_lasting_trouble_is_not(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, path = made(tmp_path, "a.mp4")
    store = store_of(bucket, "busy")
    with answering(503, "<Error><Code>SlowDown</Code></Error>") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StoreError, match="SlowDown"):
            store.keep("a.mp4", file, path, "p1")
    assert path.exists()


def test_a_service_that_overwrites_is_not_trusted_with_clips(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    with answering(200, listing, etag=True) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StoreError, match="can be overwritten") as caught:
            store_of(bucket, "careless").look()
    assert caught.value.rule == "store-unsafe"


def test_a_service_elsewhere_is_not_spoken_to_in_the_open() -> None:
    assert plain_http_of({"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"})
    assert not plain_http_of({"AWS_ENDPOINT_URL": "https://minio.example.com"})
    assert not plain_http_of({})
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_STORAGE_ENDPOINT"):
        with pytest.raises(UsageError, match="must be https"):
            plain_http_of({name: "http://minio.example.com"})


def test_without_the_extra_nothing_is_begun(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"pip install 'batchgen\[s3\]'") as caught:
        store_of(bucket, "bare").look()
    assert "Nothing was submitted" in caught.value.advice


# Death on the way


def test_a_put_that_is_given_up_leaves_nothing(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, path = made(tmp_path, "big.mp4", BODY * 150)
    stop = threading.Event()
    url = f"s3://{bucket.name}/night/cut"
    with Throttle(bucket) as slow:
        monkeypatch.setenv("AWS_ENDPOINT_URL", slow.url)
        threading.Thread(target=_then, args=(slow.half_way, stop)).start()
        with pytest.raises(DownloadStopped):
            ObjectStore(url, World(), stop).keep("big.mp4", file, path, "p1")
    assert path.exists()
    quiet(bucket, "cut")
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
    again = store_of(bucket, "cut")
    assert again.found("big.mp4", path, "p1") is None
    kept = again.keep("big.mp4", file, path, "p1")
    assert kept.name == "big.mp4"
    digest = hashlib.sha256(bucket.get("night/cut/big.mp4").content).hexdigest()
    assert digest == file.sha256


def _then(first: threading.Event, second: threading.Event) -> None:
    first.wait()
    second.set()


def test_a_put_whose_process_is_killed_leaves_nothing(
    bucket: Bucket, tmp_path: Path
) -> None:
    _, path = made(tmp_path, "big.mp4", BODY * 150)
    with Throttle(bucket) as slow:
        words = [
            sys.executable,
            "-c",
            _PUT,
            f"s3://{bucket.name}/night/kill",
            str(path),
        ]
        env = {**os.environ, "AWS_ENDPOINT_URL": slow.url}
        child = subprocess.Popen(words, env=env)
        slow.half_way.wait()
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    quiet(bucket, "kill")


_PUT = """
import hashlib, sys
from pathlib import Path
from batchgen.events import SavedFile
from batchgen.objects import ObjectStore
from batchgen.world import World
url, path = sys.argv[1], Path(sys.argv[2])
data = path.read_bytes()
file = SavedFile(name=path.name, bytes=len(data),
                 sha256=hashlib.sha256(data).hexdigest())
ObjectStore(url, World()).keep(path.name, file, path, "p1")
"""


def quiet(bucket: Bucket, run: str) -> None:
    """Nothing of a run is there, also when the server has thought about it."""
    time.sleep(0.5)
    assert [key for key in bucket.names() if f"/{run}/" in key] == []
    assert bucket.uploads() == 0


# Size


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip(bucket: Bucket, tmp_path: Path) -> None:
    most = {}
    for size in (50, 400):
        path = tmp_path / f"{size}.mp4"
        with path.open("wb") as out:
            for _ in range(size):
                out.write(os.urandom(1 << 20))
        words = [sys.executable, "-c", _MEASURE, _PUT]
        words += [f"s3://{bucket.name}/night/size", str(path)]
        began = time.monotonic()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        most[size] = int(done.stdout)
        speed = size / (time.monotonic() - began)
        print(f"{size} MB: {most[size]} MB of memory, {speed:.0f} MB/s")  # noqa: T201
    assert most[400] < 100
    assert most[400] - most[50] < 16


# Memory of one's own: pages of the file belong to the system, which takes them back.
_MEASURE = """
import sys, threading, time
put = sys.argv[1].replace("data = path.read_bytes()", "opened = path.open('rb')")
put = put.replace("bytes=len(data)", "bytes=path.stat().st_size")
put = put.replace("hashlib.sha256(data)", "hashlib.file_digest(opened, 'sha256')")
sys.argv[1:] = sys.argv[2:]
most = 0
def watch():
    global most
    while True:
        text = open("/proc/self/status").read()
        most = max(most, int(text.partition("RssAnon:")[2].split()[0]) // 1024)
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
exec(put)
print(most)
"""


# Servers that are not as they should be


class answering:  # noqa: N801 - read as a word
    """A server that has one answer."""

    def __init__(self, status: int, body: str, *, etag: bool = False) -> None:
        data = body.encode()
        tag = 'ETag: "x"\r\n' if etag else ""
        head = f"HTTP/1.1 {status} So\r\nContent-Length: {len(data)}\r\n{tag}"
        self._answer = f"{head}Connection: close\r\n\r\n".encode() + data
        self._socket = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller:
                caller.settimeout(5)
                seen = b""
                while b"\r\n\r\n" not in seen and (more := caller.recv(65536)):
                    seen += more
                caller.sendall(self._answer)


class Throttle:
    """Stands before a bucket; a put hangs when half of it has gone through."""

    def __init__(self, bucket: Bucket) -> None:
        self.half_way = threading.Event()
        self._to = urlsplit(bucket.url)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._ends = [self._socket]

    def __enter__(self) -> Self:
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            end.close()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
                server = socket.create_connection((self._to.hostname, self._to.port))
            except OSError:
                return
            self._ends += [caller, server]
            for pair in ((caller, server, 4 << 20), (server, caller, 1 << 40)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, giver: socket.socket, taker: socket.socket, most: int) -> None:
        passed = 0
        try:
            while block := giver.recv(65536):
                taker.sendall(block)
                passed += len(block)
                if passed > most:
                    self.half_way.set()
                    threading.Event().wait(60)
            taker.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_disk_that_loses_the_clip_says_so(tmp_path: Path) -> None:
    store = ObjectStore("s3://clips/night", World(disk=Disk()))
    file, path = made(tmp_path, "a.mp4")
    path.unlink()
    with pytest.raises(StoreError, match=r"a\.mp4"):
        store.keep("a.mp4", file, path, "p1")
