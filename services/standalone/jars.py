"""Apache Kafka's jars: fetched once, checked at every start, kept in the user's cache folder.

``kafka_jars.lock`` names each by package URL (its Maven coordinates) and SHA-256. A jar gets its final name only when
its sum is right, so a fetch that was cut short, by whatever, goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import httpx
import platformdirs
from packageurl import PackageURL
from packageurl.contrib.purl2url import get_download_url

from services.standalone.errors import DamagedJarError, JarFetchError, disk_full_explained

REPOSITORY_VARIABLE = "WAYBILL_MAVEN_REPOSITORY"
CACHE_VARIABLE = "WAYBILL_CACHE_DIR"
CONNECTIONS = 8
TRIES = 3
ABANDONED_SECONDS = 3600.0
TIMEOUT = httpx.Timeout(30.0, connect=10.0)

Progress = Callable[[int, int], None]
"""Called with the number of jars that are there and the number of all."""


@dataclass(frozen=True)
class Jar:
    """One line of the lock file."""

    purl: PackageURL
    sha256: str

    @property
    def file_name(self) -> str:
        """The name that Maven gives it."""
        return f"{self.purl.name}-{self.purl.version}.jar"

    def url(self, repository: str | None) -> str:
        """Return its address in ``repository`` (a base URL in the standard Maven layout), or in Maven Central."""
        qualifiers = {"repository_url": repository.rstrip("/")} if repository else {}
        purl = PackageURL(self.purl.type, self.purl.namespace, self.purl.name, self.purl.version, qualifiers)
        address = get_download_url(purl.to_string())  # type: ignore[no-untyped-call]
        assert address is not None, f"{self.purl} names no version"
        return str(address)


@cache
def locked_jars() -> tuple[Jar, ...]:
    """Return what the lock file names."""
    lines = resources.files(__package__).joinpath("kafka_jars.lock").read_text().splitlines()
    jars = (line.split() for line in lines if line and not line.startswith("#"))
    return tuple(Jar(PackageURL.from_string(purl), sha256.removeprefix("sha256:")) for purl, sha256 in jars)


def jar_folder(jars: Iterable[Jar]) -> Path:
    """Return the cache folder of this very set: Java takes all that lies in it, so two sets never share one."""
    base = os.environ.get(CACHE_VARIABLE)
    cache_dir = Path(base).expanduser().absolute() if base else platformdirs.user_cache_path("waybill")
    identity = hashlib.sha256("".join(sorted(jar.sha256 for jar in jars)).encode()).hexdigest()
    return cache_dir / f"kafka-jars-{identity[:12]}"


def is_good(path: Path, jar: Jar) -> bool:
    """Whether ``path`` holds exactly this jar."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def ensure_jars(
    jars: tuple[Jar, ...] | None = None,
    *,
    progress: Progress | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Path:
    """Return the folder that holds all jars, fetching those that are missing or damaged.

    Raises :class:`JarFetchError`, :class:`DamagedJarError` or :class:`DiskFullError`.
    """
    jars = locked_jars() if jars is None else jars
    folder = jar_folder(jars)
    with disk_full_explained("making the folder of the jars", folder):
        folder.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in jars if not is_good(folder / jar.file_name, jar)]
    if missing:
        _fetch_all(missing, folder, len(jars), progress, transport)
    return folder


def _fetch_all(
    missing: list[Jar], folder: Path, total: int, progress: Progress | None, transport: httpx.BaseTransport | None
) -> None:
    _clear_abandoned(folder)
    repository = os.environ.get(REPOSITORY_VARIABLE)
    done = total - len(missing)
    with (
        httpx.Client(timeout=TIMEOUT, follow_redirects=True, transport=transport) as client,
        ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="jars") as pool,
    ):
        fetches = [pool.submit(_fetch, client, jar, jar.url(repository), folder) for jar in missing]
        try:
            for fetch in as_completed(fetches):
                fetch.result()
                done += 1
                if progress is not None:
                    progress(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _clear_abandoned(folder: Path) -> None:
    """Remove what fetches that were killed left half done; a young one may be another process at work."""
    for part in folder.glob(".*.part"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()


def _fetch(client: httpx.Client, jar: Jar, url: str, folder: Path) -> None:
    """Fetch one jar, trying again what may pass: a broken connection, a server's trouble, a damaged file once."""
    damaged = 0
    failure: Exception | None = None
    for _ in range(TRIES):
        try:
            if _fetch_once(client, jar, url, folder):
                return
        except httpx.TransportError as error:
            failure = error
            continue
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500 and error.response.status_code != 429:
                raise JarFetchError(
                    f"{jar.file_name}: the repository answered {error.response.status_code}."
                ) from error
            failure = error
            continue
        damaged += 1
        if damaged == 2:
            raise DamagedJarError(f"{jar.file_name} does not have the SHA-256 that the lock file names.")
    raise JarFetchError(
        f"{jar.file_name} could not be fetched: {type(failure).__name__}"
        + (f" ({failure})" if str(failure) else "")
        + "."
    ) from failure


def _fetch_once(client: httpx.Client, jar: Jar, url: str, folder: Path) -> bool:
    """Fetch into a file of its own and move it into place if its sum is right; say whether it was."""
    digest = hashlib.sha256()
    # Not named .jar: whatever a crash leaves behind must not get on the class path.
    with (
        disk_full_explained(f"fetching {jar.file_name}", folder),
        tempfile.NamedTemporaryFile(dir=folder, prefix=f".{jar.file_name}.", suffix=".part", delete=False) as file,
    ):
        temporary = Path(file.name)
        try:
            with client.stream("GET", url) as response:
                response.raise_for_status()
                for chunk in response.iter_bytes():
                    digest.update(chunk)
                    file.write(chunk)
            file.close()
            good = digest.hexdigest() == jar.sha256
            if good:
                temporary.replace(folder / jar.file_name)
            return good
        finally:
            temporary.unlink(missing_ok=True)
