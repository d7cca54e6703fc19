"""Docker's errors in words that an operator can act on."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import docker
import pytest
import requests
from docker import errors

from supervisor.sandbox.engine import Engine, EngineError, Gone, ImageMissing, how_to_get, output, translate

HOST = "unix:///var/run/docker.sock"


def api(status: int, text: str) -> errors.APIError:
    response = requests.Response()
    response.status_code = status
    kind = errors.NotFound if status == 404 else errors.APIError
    return kind("message", response=response, explanation=text)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.DockerException("('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))"),
         f"there is no Docker at {HOST}; hint: systemctl start docker"),
        (errors.DockerException("('Connection aborted.', ConnectionRefusedError(111, 'Connection refused'))"),
         f"the Docker daemon is not running at {HOST}; hint: systemctl start docker"),
        (errors.DockerException("('Connection aborted.', PermissionError(13, 'Permission denied'))"),
         f"no permission to use Docker at {HOST}; hint: usermod -aG docker $(id -un)"),
        (api(500, "write /var/lib/x: no space left on device"),
         "Docker has no disk space left; hint: docker system df"),
        (api(400, "Unknown runtime specified runsc"),
         "Docker knows no runtime \"runsc\"; hint: docker info --format '{{.Runtimes}}'"),
        (api(404, "network lan not found"), 'Docker has no network "lan"; hint: docker network ls'),
        (api(400, "invalid mount config: bind source path does not exist: /nonexist"),
         "the folder /nonexist does not exist; hint: mkdir -p /nonexist"),
        (api(400, 'OCI runtime create failed: exec: "python3": executable file not found in $PATH: unknown'),
         "the image mine:1 has no python3; hint: docker build -t mine:1 . "
         "(from a Dockerfile that begins FROM openclaw-sandbox:bookworm-slim)"),
        (api(500, "something\nnew"), "Docker: something new"),
    ],
)  # fmt: skip
def test_an_error_says_what_and_what_to_type(error: Exception, words: str) -> None:
    assert translate(error, HOST, "mine:1").reason == words


def test_what_is_not_there_is_gone() -> None:
    assert isinstance(translate(api(404, "No such container: x"), HOST), Gone)


def test_a_missing_default_image_is_built_and_another_one_made_from_it() -> None:
    missing = errors.ImageNotFound("x", response=None, explanation="No such image: openclaw-sandbox:bookworm-slim")
    found = translate(missing, HOST, "openclaw-sandbox:bookworm-slim")
    assert isinstance(found, ImageMissing)
    assert found.reason.endswith("hint: openclaw sandbox build")
    assert "FROM openclaw-sandbox:bookworm-slim" in how_to_get("mine:1")


async def test_no_daemon_is_an_error_each_time_and_nothing_is_kept() -> None:
    engine = Engine("unix:///nonexist/docker.sock")
    for _ in range(2):
        with pytest.raises(EngineError, match=r"there is no Docker at unix:///nonexist/docker\.sock"):
            await engine.call(lambda client: client.info())
    engine.close()


def test_a_gateway_without_sandboxes_does_not_load_the_library() -> None:
    look = "import sys, supervisor.service; sys.exit('docker' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0


def test_words_that_come_with_the_headers_are_not_lost(tmp_path: Path) -> None:
    """A command that is quick, or a reader that is late: all of the answer is there at once."""
    said = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    said += b"\1\0\0\0\0\0\0\4one\n" + b"\2\0\0\0\0\0\0\4bad\n"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "d"))
        listener.listen()

        def answer() -> None:
            found, _ = listener.accept()
            with found:
                while not found.recv(65536).endswith(b"}"):
                    pass
                found.sendall(said)

        daemon = threading.Thread(target=answer)
        daemon.start()
        client = docker.APIClient(f"unix://{tmp_path}/d", version="1.41")
        assert list(output(client, "x")) == [b"one\n", b"bad\n"]
        client.close()
        daemon.join()
