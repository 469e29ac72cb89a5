"""Downloads official releases: checked against the publisher's checksums, resumable, with short timeouts."""

from __future__ import annotations

import hashlib
import json
import queue
import re
import shutil
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from lab.toolchain.layout import downloads_home
from lab.toolchain.parts import Part
from slipway.progress import Step, elapsed_text

CONNECT_TIMEOUT_SECONDS = 3.0
# The first answer of a site: name look-up, connection, TLS, redirects and a few kilobytes of checksums.
FIRST_ANSWER_SECONDS = 5.0
STALL_TIMEOUT_SECONDS = 20.0
ATTEMPTS = 3
_ALGORITHMS = {40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}
Result = TypeVar("Result")


class UnavailableError(Exception):
    """The part is not available this way; the text says why, and the next way is tried."""


class Downloader:
    """Downloads of one run. A site that could not be reached once is not asked again."""

    def __init__(self, *, connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS) -> None:
        timeout = httpx.Timeout(STALL_TIMEOUT_SECONDS, connect=connect_timeout_seconds)
        self._client = httpx.Client(timeout=timeout, follow_redirects=True)
        self._first_answer_seconds = connect_timeout_seconds + FIRST_ANSWER_SECONDS - CONNECT_TIMEOUT_SECONDS
        self._unreachable: dict[str, str] = {}

    def close(self) -> None:
        self._client.close()

    def known_unreachable(self, part: Part) -> str:
        """Why this part's publisher was unreachable earlier in this run; empty if it was not."""
        hosts = {urlsplit(sums).netloc for _, sums in part.release.addresses(part.version)}
        return next((self._unreachable[host] for host in sorted(hosts) if host in self._unreachable), "")

    def fetch(self, part: Part, bin_folder: Path, step: Step) -> str:
        """Put the part's executables into `bin_folder` and return the address they came from."""
        addresses = part.release.addresses(part.version)
        for url, sums_url in addresses:
            expected = checksum_for(_file_name(url), self._small_text(sums_url))
            file = self._download(url, expected, step)
            _unpack(file, bin_folder)
            shutil.rmtree(file.parent)
        missing = [name for name in part.executables if not (bin_folder / name).is_file()]
        if missing:
            raise UnavailableError(f"{addresses[0][0]} does not contain {', '.join(missing)}")
        return addresses[0][0]

    def _small_text(self, url: str) -> str:
        host = urlsplit(url).netloc
        try:
            answer = _within(self._first_answer_seconds, lambda: self._client.get(url))
        except (httpx.TransportError, TimeoutError) as error:
            self._unreachable[host] = f"{host} cannot be reached ({error or type(error).__name__})"
            raise UnavailableError(self._unreachable[host]) from error
        except httpx.HTTPError as error:
            raise UnavailableError(f"no checksums from {url} ({error})") from error
        if answer.status_code != httpx.codes.OK:
            raise UnavailableError(f"no checksums at {url} (HTTP {answer.status_code})")
        return answer.text

    def _download(self, url: str, expected: tuple[str, str], step: Step) -> Path:
        """The checked file; a partial one is kept under its expected hash, so that only its own rest is added."""
        algorithm, digest = expected
        partial = downloads_home() / digest[:16] / f"{_file_name(url)}.part"
        partial.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._append(url, partial, step)
                break
            except httpx.HTTPError as error:
                if attempt == ATTEMPTS:
                    raise UnavailableError(f"{url} was interrupted ({error or type(error).__name__})") from error
        with partial.open("rb") as stream:
            actual = hashlib.file_digest(stream, algorithm).hexdigest()
        if actual != digest:
            partial.unlink()
            raise UnavailableError(f"{url} has the {algorithm} {actual}, its publisher's is {digest}")
        return partial.replace(partial.with_suffix(""))

    def _append(self, url: str, partial: Path, step: Step) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with self._client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # complete already, or wrong: the hash check decides
            if not answer.is_success:
                raise UnavailableError(f"{url} answers HTTP {answer.status_code}")
            resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
            total = (have if resumed else 0) + int(answer.headers.get("Content-Length", 0))
            with partial.open("ab" if resumed else "wb") as stream:
                for chunk in answer.iter_raw():
                    stream.write(chunk)
                    done = f"{stream.tell() >> 20} of {total >> 20} MiB"
                    step.update(f"{done}, {elapsed_text(step.elapsed_seconds())}")


def checksum_for(name: str, sums: str) -> tuple[str, str]:
    """The algorithm and digest that `sums` gives for the file `name`.

    `sums` is the text of a checksum file (`digest  name` lines, or only a digest) or an in-toto statement, which
    names its subjects and their digests. Raises `UnavailableError` if it does not cover `name`.
    """
    if sums.lstrip().startswith("{"):
        try:
            digests = {subject["name"]: subject["digest"]["sha256"] for subject in json.loads(sums)["subject"]}
            return "sha256", str(digests[name]).lower()
        except (ValueError, KeyError, TypeError) as error:
            raise UnavailableError(f"the publisher's provenance statement has no digest of {name}") from error
    for line in sums.splitlines():
        digest, _, file = line.strip().partition(" ")
        named = file.strip().lstrip("*").rpartition("/")[2]
        if named in {name, ""} and re.fullmatch(r"[0-9a-fA-F]+", digest) and len(digest) in _ALGORITHMS:
            return _ALGORITHMS[len(digest)], digest.lower()
    raise UnavailableError(f"the publisher gives no checksum for {name}")


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """`work()` with a deadline of `seconds`, even if it hangs in a name look-up, which no client timeout covers."""
    done: queue.SimpleQueue[Result | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put(work())
        except Exception as error:  # noqa: BLE001 - handed to the caller's thread and raised there
            done.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        result = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if isinstance(result, Exception):
        raise result
    return result


def _file_name(url: str) -> str:
    return Path(urlsplit(url).path).name


def _unpack(file: Path, bin_folder: Path) -> None:
    """Put an archive's executables, or the file itself, into `bin_folder`, under their plain names."""
    if not file.name.endswith((".tar.gz", ".tgz")):
        file.replace(bin_folder / file.name).chmod(0o755)
        return
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() and member.mode & 0o111 else None
                if content is not None:
                    target = bin_folder / Path(member.name).name
                    with content, target.open("wb") as stream:
                        shutil.copyfileobj(content, stream)
                    target.chmod(0o755)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UnavailableError(f"{file.name} cannot be unpacked ({error})") from error
