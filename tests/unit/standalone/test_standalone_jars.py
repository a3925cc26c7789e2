"""Kafka's jars: fetched, checked, gone on with, and every way in which that fails."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from packageurl import PackageURL

from services.standalone.errors import DamagedJarError, DiskFullError, JarFetchError
from services.standalone.jars import Jar, ensure_jars, jar_folder, locked_jars

CONTENT = {name: f"the jar {name}".encode() * 1000 for name in ("alpha", "beta", "gamma")}
JARS = tuple(
    Jar(PackageURL("maven", "org.example.some", name, "1.0"), hashlib.sha256(content).hexdigest())
    for name, content in CONTENT.items()
)
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAYBILL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WAYBILL_MAVEN_REPOSITORY", "http://mirror.invalid/maven/")
    return tmp_path / "cache"


class Repository:
    """Serves the jars and counts what it was asked for; ``trouble`` may answer first."""

    def __init__(self, trouble: Handler | None = None) -> None:
        self.asked: Counter[str] = Counter()
        self.transport = httpx.MockTransport(self._answer)
        self._trouble = trouble

    def _answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.split("/")[-3]
        self.asked[name] += 1
        assert str(request.url) == f"http://mirror.invalid/maven/org/example/some/{name}/1.0/{name}-1.0.jar"
        if self._trouble is not None and name == "beta":
            return self._trouble(request)
        return httpx.Response(200, content=CONTENT[name])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_lock_file_names_every_jar_once_and_no_repository() -> None:
    jars = locked_jars()
    assert len({jar.file_name for jar in jars}) == len(jars) == 46
    assert all(jar.purl.type == "maven" and not jar.purl.qualifiers for jar in jars)
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in jars)
    assert "kafka_2.13-4.2.0.jar" in {jar.file_name for jar in jars}


def test_without_a_mirror_the_address_is_maven_central_in_the_standard_layout() -> None:
    url = httpx.URL(JARS[0].url(None))
    assert url.scheme == "https"
    assert url.path.endswith("/org/example/some/alpha/1.0/alpha-1.0.jar")


def test_all_are_fetched_once_and_nothing_else_is_left() -> None:
    repository, progress = Repository(), list[tuple[int, int]]()
    folder = ensure_jars(
        JARS, progress=lambda done, total: progress.append((done, total)), transport=repository.transport
    )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{name}-1.0.jar": content for name, content in CONTENT.items()
    }
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert ensure_jars(JARS, transport=repository.transport) == folder
    assert set(repository.asked.values()) == {1}


def test_a_damaged_jar_on_disk_is_fetched_again_and_only_that_one() -> None:
    folder = ensure_jars(JARS, transport=Repository().transport)
    (folder / "beta-1.0.jar").write_bytes(CONTENT["beta"][:-1])
    repository = Repository()
    ensure_jars(JARS, transport=repository.transport)
    assert repository.asked == {"beta": 1}
    assert (folder / "beta-1.0.jar").read_bytes() == CONTENT["beta"]


def test_a_jar_damaged_on_the_way_is_fetched_again() -> None:
    answers = iter([b"something else", CONTENT["beta"]])
    folder = ensure_jars(JARS, transport=Repository(lambda _: httpx.Response(200, content=next(answers))).transport)
    assert (folder / "beta-1.0.jar").read_bytes() == CONTENT["beta"]


def test_a_jar_that_stays_damaged_is_an_error_and_never_gets_its_name() -> None:
    repository = Repository(lambda _: httpx.Response(200, content=b"something else"))
    with pytest.raises(DamagedJarError, match=r"beta-1\.0\.jar") as raised:
        ensure_jars(JARS, transport=repository.transport)
    assert "WAYBILL_MAVEN_REPOSITORY" in raised.value.hint
    assert repository.asked["beta"] == 2
    assert "beta-1.0.jar" not in names(jar_folder(JARS))


def test_without_a_network_it_says_so_and_the_next_start_goes_on() -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Name or service not known", request=request)

    with pytest.raises(JarFetchError, match="Name or service not known") as raised:
        ensure_jars(JARS, transport=Repository(unreachable).transport)
    assert "HTTPS_PROXY" in raised.value.hint
    had = names(jar_folder(JARS))
    assert not any(name.endswith(".part") for name in had)

    repository = Repository()
    ensure_jars(JARS, transport=repository.transport)
    assert {f"{name}-1.0.jar" for name in repository.asked} == {jar.file_name for jar in JARS} - had


def test_a_server_in_trouble_is_asked_again_but_not_for_what_it_does_not_have() -> None:
    answers = iter([httpx.Response(503), httpx.Response(429), httpx.Response(200, content=CONTENT["beta"])])
    ensure_jars(JARS, transport=Repository(lambda _: next(answers)).transport)

    (jar_folder(JARS) / "beta-1.0.jar").unlink()
    repository = Repository(lambda _: httpx.Response(404))
    with pytest.raises(JarFetchError, match="404"):
        ensure_jars(JARS, transport=repository.transport)
    assert repository.asked == {"beta": 1}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_says_where_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_a_full_disk(**where: Any) -> Any:
        full = Path("/dev/full").open("wb")  # noqa: SIM115 - the wrapper closes it
        return tempfile._TemporaryFileWrapper(full, str(Path(where["dir"]) / "x.part"), delete=False)

    monkeypatch.setattr("services.standalone.jars.tempfile.NamedTemporaryFile", on_a_full_disk)
    with pytest.raises(DiskFullError, match=r"fetching alpha-1\.0\.jar") as raised:
        ensure_jars(JARS[:1], transport=Repository().transport)
    assert "WAYBILL_CACHE_DIR" in raised.value.hint


def test_what_a_killed_fetch_left_is_cleared_but_not_what_another_is_at(cache_dir: Path) -> None:
    folder = jar_folder(JARS)
    folder.mkdir(parents=True)
    old, young = folder / ".alpha-1.0.jar.1.part", folder / ".alpha-1.0.jar.2.part"
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    ensure_jars(JARS, transport=Repository().transport)
    assert not old.exists()
    assert young.exists()


def test_two_sets_of_jars_never_share_a_folder() -> None:
    assert jar_folder(JARS) != jar_folder(JARS[:2])
    assert jar_folder(JARS) == jar_folder(tuple(reversed(JARS)))
