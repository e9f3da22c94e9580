"""A real PostgreSQL server for the tests: the one that is installed, or else the one of Debian's package, unpacked."""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock" / "postgresql"
UNPRIVILEGED = "nobody"  # the server refuses to run as root


@dataclass(frozen=True)
class Server:
    """Its address, without the password that it asks for."""

    url: str
    password: str

    @property
    def environment(self) -> dict[str, str]:
        return {"PGPASSWORD": self.password}


@contextlib.contextmanager
def running(host: str = "127.0.0.1", inside: Sequence[str] = ()) -> Iterator[Server]:
    """A fresh server on the loopback address, or on another of a network namespace, gone afterwards.

    `inside` is the beginning of a command, run by root, that runs there, which takes nsenter's options.
    """
    programs = _programs()
    libraries = os.pathsep.join(str(path) for path in CACHE.glob("usr/lib/*-linux-gnu"))
    environment = {**os.environ, "LC_ALL": "C", **({"LD_LIBRARY_PATH": libraries} if libraries else {})}
    entered: list[str] = []
    user = UNPRIVILEGED if os.getuid() == 0 else None
    folder, password = Path(tempfile.mkdtemp(prefix="penstock-postgresql-")), secrets.token_hex(12)
    try:
        (folder / "password").write_text(password)
        if user:
            owner = pwd.getpwnam(user)
            for path in (folder, folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
            if inside:
                entered = [*inside, f"--setuid={owner.pw_uid}", f"--setgid={owner.pw_gid}"]

        def run(program: str, *arguments: str) -> None:
            command = [*entered, str(programs / program), *arguments]
            done = subprocess.run(
                command, user=None if entered else user, env=environment, cwd=folder, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

        run(
            "initdb",
            "-D",
            "data",
            "-U",
            "penstock",
            "--auth=scram-sha-256",
            "--pwfile=password",
            "--encoding=UTF8",
            "--no-sync",
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        if inside:
            with (folder / "data" / "pg_hba.conf").open("a") as allowed:
                allowed.write("host all all 10.0.0.0/8 scram-sha-256\n")
        settings = f"-p {port} -c listen_addresses={host} -c unix_socket_directories= -c fsync=off"
        run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", settings, "start")
        try:
            yield Server(f"postgresql://penstock@{host}:{port}/postgres", password)
        finally:
            run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """The folder of `initdb` and `pg_ctl`. Only where there is no apt-get is a missing server no failure."""
    for root in (Path("/"), CACHE):
        if found := sorted(root.glob("usr/lib/postgresql/*/bin/initdb")):
            return found[-1].parent
    if shutil.which("initdb"):
        return Path(str(shutil.which("initdb"))).parent
    if not shutil.which("apt-get"):
        pytest.skip("NOT TESTED: no PostgreSQL server here, and no apt-get to fetch Debian's")
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        depends = subprocess.check_output(["apt-cache", "depends", "postgresql"], text=True)
        server = next(word for word in depends.split() if word.startswith("postgresql-") and word[-1].isdigit())
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "download", server, "libpq5"], cwd=folder, check=True, capture_output=True)
            for package in Path(folder).glob("*.deb"):
                subprocess.run(["dpkg", "-x", package, CACHE], check=True)
    except (StopIteration, OSError, subprocess.CalledProcessError) as exc:
        pytest.fail(f"NOT TESTED: no PostgreSQL server is installed and Debian's could not be fetched: {exc}")
    return sorted(CACHE.glob("usr/lib/postgresql/*/bin/initdb"))[-1].parent
