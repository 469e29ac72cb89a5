"""PostgreSQL for the services: a server of the host, with its data in the lab's folder, and its databases."""

from __future__ import annotations

import hashlib
import pwd
import re
import secrets
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

from slipway.errors import ConfigurationError

from . import machine, proc
from .proc import Listen
from .processes import Daemon, command_probe
from .settings import DATABASES, ENVIRONMENTS, LabSettings
from .system import make_folder, run, write_text

SYSTEM_USER = "postgres"
# "Fast shutdown": end the sessions instead of waiting for them.
STOP_SIGNAL = signal.SIGINT
ROLE = "slipway"
STACK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
# https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
NAME_MAX_BYTES = 63
_PROGRAM_FOLDERS = Path("/usr/lib/postgresql")

_CONFIG = """\
# Written by `slipway lab up`.
listen_addresses = '127.0.0.1,{address}'
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
hba_file = '{access}'
log_min_messages = warning
shared_buffers = 32MB
max_connections = 100
"""
_ACCESS = """\
# Written by `slipway lab up`: the server's own user on its private socket, everybody else with a password.
local all {user} peer
host all {role} 127.0.0.1/32 scram-sha-256
host all {role} {address}/32 scram-sha-256
host all {role} {pods} scram-sha-256
"""
_MAKE_ROLE = """\
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \\gexec
ALTER ROLE :"role" PASSWORD :'password';
"""
_MAKE_DATABASE = """\
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec
"""
# FORCE ends open sessions, also of pods that are ending.
_DROP_DATABASE = """\
DROP DATABASE IF EXISTS :"name" WITH (FORCE);
"""


def program_folder(settings: LabSettings) -> Path:
    """The programs of the server version that made the data; of the newest version if there is no data yet."""
    found = {path.parent.parent.name: path.parent for path in _PROGRAM_FOLDERS.glob("*/bin/postgres")}
    made_by = settings.home / "postgres" / "data" / "PG_VERSION"
    version = made_by.read_text().strip() if made_by.exists() else max(found, key=float, default="")
    if version not in found:
        raise ConfigurationError(
            f"no PostgreSQL server {version} was found in {_PROGRAM_FOLDERS}",
            why=f"found: {', '.join(sorted(found)) or 'none'}",
            next_step=f"install the Debian package postgresql{'-' if version else ''}{version}",
        )
    return found[version]


def stored_folder(settings: LabSettings) -> Path:
    return settings.home / "postgres"


def reachable_folder(settings: LabSettings) -> Path:
    """The same data in a folder that the server's own user can read: only root can read the lab's home."""
    return settings.run / "postgres" / "store"


def clear_after_crash(settings: LabSettings) -> None:
    """End the child processes of a killed server and remove its locks, so that a new one can start.

    A server respects a lock as long as any process has its pid, even a zombie. The killed server itself must be gone;
    its children are found by their working directory.
    """
    data = stored_folder(settings) / "data"
    if data.exists():
        place = data.stat()
        proc.stop_all(proc.find_processes(lambda pid: proc.works_in(pid, place)), 5, STOP_SIGNAL)
        (data / "postmaster.pid").unlink(missing_ok=True)
        machine.remove_tree(socket_folder(settings))


def socket_folder(settings: LabSettings) -> Path:
    return settings.run / "postgres" / "sockets"


def password_file(settings: LabSettings) -> Path:
    return settings.home / "postgres-password"


def url_file(settings: LabSettings, environment: str, database: str) -> Path:
    """The file with the whole URL of one of an environment's databases, including the password."""
    return settings.home / "databases" / environment / database


def database_name(environment: str, database: str) -> str:
    """The name on the server: `order_service_dev`; in prod `order_service`, from before other environments had any."""
    name = database if environment == "prod" else f"{database}_{environment}"
    if len(name) <= NAME_MAX_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: NAME_MAX_BYTES - 9]}-{digest}"


def environments(settings: LabSettings) -> list[str]:
    """Environments that have databases, and `ENVIRONMENTS`, which always get them."""
    made = (folder.name for folder in (settings.home / "databases").glob("*/"))
    return sorted({*ENVIRONMENTS, *made})


def require_environment(name: str) -> None:
    """Raise ConfigurationError if `name` is invalid."""
    if not STACK_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is not a valid name of an environment.",
            why="Allowed: letters, digits, '_', '.' and '-', not beginning with '.' or '-'.",
            next_step="Use the name of a Pulumi.<environment>.yaml.",
        )


def prepare(settings: LabSettings) -> None:
    """Mount, initialise and configure the data folder; each part only if it is missing."""
    if not password_file(settings).exists():
        write_text(password_file(settings), secrets.token_hex(24) + "\n")
    account = pwd.getpwnam(SYSTEM_USER)
    make_folder(settings.run, 0o711)
    make_folder(settings.run / "postgres", 0o711)
    for folder in (stored_folder(settings), socket_folder(settings)):
        make_folder(folder)
        shutil.chown(folder, account.pw_uid, account.pw_gid)
    store = reachable_folder(settings)
    # Not `is_mount`: it does not see a bind mount of the same disk.
    if store not in machine.current_mounts([store]):
        make_folder(store)
        run(["mount", "--bind", str(stored_folder(settings)), str(store)])
    data = store / "data"
    if not data.exists():
        # In another folder that is renamed at the end: an interrupted run leaves no partial data.
        unfinished = store / "unfinished"
        run(["rm", "-rf", "--", str(unfinished)])
        initdb = str(program_folder(settings) / "initdb")
        run([initdb, "-D", str(unfinished), "-E", "UTF8", "--locale=C.UTF-8", "--auth=peer"], user=SYSTEM_USER)
        unfinished.rename(data)
    config = _CONFIG.format(
        address=settings.network.node_address,
        port=settings.ports.postgres,
        sockets=socket_folder(settings),
        access=data / "pg_hba.conf",
    )
    access = _ACCESS.format(
        user=SYSTEM_USER, role=ROLE, address=settings.network.node_address, pods=settings.network.pod_range
    )
    for name, text in (("postgresql.conf", config), ("pg_hba.conf", access)):
        write_text(data / name, text)
        shutil.chown(data / name, account.pw_uid, account.pw_gid)


def daemon(settings: LabSettings) -> Daemon:
    data, port = reachable_folder(settings) / "data", settings.ports.postgres
    ready = [str(program_folder(settings) / "pg_isready"), "-q", "-h", settings.network.node_address, "-p", str(port)]
    # A role that may log in: otherwise the server would log every probe as a failed login.
    ready += ["-U", ROLE, "-d", "postgres"]
    return Daemon(
        name="postgres",
        command=(str(program_folder(settings) / "postgres"), "-D", str(data)),
        probe=command_probe(ready),
        listens=(Listen("127.0.0.1", port), Listen(settings.network.node_address, port)),
        inputs=tuple(stored_folder(settings) / "data" / name for name in ("postgresql.conf", "pg_hba.conf")),
        user=SYSTEM_USER,
        stop_signal=STOP_SIGNAL,
        stop_timeout_seconds=30,
    )


def ensure_databases(settings: LabSettings, databases: Iterable[str]) -> None:
    """Create the role with the lab's password, each environment's databases, and the files with their URLs."""
    password = password_file(settings).read_text().strip()
    names = list(databases)
    script = [f"\\set role {ROLE}\n\\set password {password}\n", _MAKE_ROLE]
    for environment in names:
        script += [f"\\set name {database_name(environment, each)}\n{_MAKE_DATABASE}" for each in DATABASES]
    _psql(settings, "".join(script))
    server = f"postgresql://{ROLE}:{password}@{settings.network.node_address}:{settings.ports.postgres}"
    for environment in names:
        for each in DATABASES:
            url = f"{server}/{database_name(environment, each)}"
            write_text(url_file(settings, environment, each), f"{url}\n")


def drop_databases(settings: LabSettings, environment: str) -> None:
    """Delete an environment's databases with their data, and the files with their URLs; does nothing if it has none."""
    for each in DATABASES:
        url_file(settings, environment, each).unlink(missing_ok=True)
    _psql(settings, "".join(f"\\set name {database_name(environment, each)}\n{_DROP_DATABASE}" for each in DATABASES))
    folder = settings.home / "databases" / environment
    if folder.exists():
        folder.rmdir()


def _psql(settings: LabSettings, script: str) -> None:
    psql = [str(program_folder(settings) / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]
    server = ["-h", str(socket_folder(settings)), "-p", str(settings.ports.postgres)]
    # Through standard input: a command line can be read by every user of the machine.
    run([*psql, *server], stdin=script, user=SYSTEM_USER)
