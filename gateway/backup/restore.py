"""`gateway restore`: a backup into an empty database and the adapter store, all of it or nothing."""

import asyncio
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Final

from gateway.backup import queries
from gateway.backup.adapters import AdapterRestore, storage_of
from gateway.backup.archive import Archive, is_database, opened_for_reading
from gateway.backup.errors import BackupError
from gateway.backup.manifest import Manifest
from gateway.backup.programs import Login, Program, find, running
from gateway.backup.progress import Progress, say
from gateway.backup.session import Session
from gateway.backup.settings import BackupSettings
from gateway.backup.verification import verify
from gateway.database import migrate

_SESSIONS_SECONDS: Final = 10.0
"""How long the sessions of a restore that was killed may take to end."""


def restore(settings: BackupSettings, source: str, *, replace: bool) -> None:
    """Restore a backup from a file, or from standard input (`-`).

    The adapters come first: without rows nobody sees them. The database comes in one transaction. So whenever this is killed, there is
    either no backup restored or all of it, and it can be run again.

    Args:
        replace: what is in the database goes when the backup's data is in its place. Otherwise the database must be empty.

    Raises:
        BackupError: everything is as it was, unless it says something else.
    """
    with opened_for_reading(source) as archive, tempfile.TemporaryDirectory(prefix="restore-") as folder:
        manifest = verify(archive)
        say(f"verified: {manifest.summary()}")
        storage = storage_of(settings, Path(folder) / "copies")
        parts = Path(folder) / "adapter"
        parts.mkdir()
        with Session(settings.database_url) as session:
            program = _check_server(session, manifest)
            session.run(queries.hold_migrations)
            _check_place(session, replace=replace)
            adapters = AdapterRestore(storage, parts)
            try:
                adapters.put(archive, manifest)
                _restore_database(session, archive, manifest, program, settings.database_url)
            except BaseException:
                adapters.take_back()
                raise
            session.run(queries.drop_aside)
            session.run(queries.analyze)
            adapters.tidy(session.run(queries.adapters), remove=replace)
    try:
        asyncio.run(migrate(settings.database_url))
    except (RuntimeError, OSError) as error:
        raise BackupError(
            f"The backup is restored, but its schema could not be brought up to date: run `gateway migrate`. {error}"
        ) from error
    say("restored; start the gateways and the ML service now")


def _check_server(session: Session, manifest: Manifest) -> Program:
    """The pg_restore for this server.

    It must be able to read the dump, and not be newer than the server: it begins with settings that an older one does not know.
    """
    server = session.run(queries.server_major)
    if manifest.dumped_with > server:
        raise BackupError(
            f"The backup was written by pg_dump {manifest.dumped_with}, and this server is PostgreSQL {server}: restore it into version"
            f" {manifest.dumped_with} or newer"
        )
    if (encoding := session.run(queries.encoding)) != "UTF8":
        raise BackupError(f"The database is encoded in {encoding}: make one with `create database … encoding 'UTF8' template template0`")
    return find("pg_restore", lowest=manifest.dumped_with, highest=server)


def _check_place(session: Session, *, replace: bool) -> None:
    """See that nobody works on the database, and that it is empty or may be replaced, and put what there is aside.

    Raises:
        BackupError: it is not so.
    """
    deadline = time.monotonic() + _SESSIONS_SECONDS
    while count := session.run(queries.other_sessions):
        if time.monotonic() > deadline:
            raise BackupError(f"{count} other sessions use this database: stop all gateways, and run it again")
        time.sleep(0.2)
    there = session.run(queries.relations)
    if session.run(queries.is_put_aside):
        if there:  # a restore was killed when it had all but ended, and this may have been used since
            if replace:
                session.run(queries.drop_aside)
        else:
            session.run(queries.put_back)
            there = session.run(queries.relations)
    if there and not replace:
        raise BackupError("The database is not empty: name an empty one in DATABASE_URL, or say --replace to lose what it holds")


def _restore_database(session: Session, archive: Archive, manifest: Manifest, program: Program, url: str) -> None:
    """Put the dump into the database, in one transaction. What it replaces is put aside before, and put back if anything fails."""
    if session.run(queries.relations):
        session.run(queries.put_aside)
    try:
        _feed_dump(archive, manifest, program, Login.of(url))
        if session.run(queries.counts) != manifest.rows:
            raise BackupError("After the restore the tables had other numbers of rows than the backup says; all is as it was before")
    except BaseException:
        _put_back(session)
        raise


def _feed_dump(archive: Archive, manifest: Manifest, program: Program, login: Login) -> None:
    arguments = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]
    progress, digest, held = Progress("database", manifest.database.size), hashlib.sha256(), b""
    with running(program, arguments, login, fed=True) as child:
        for _, data in archive.pieces(is_database, progress):
            digest.update(data)
            child.feed(held)
            held = data
        if digest.hexdigest() != manifest.database.sha256:  # without its last piece nothing is committed
            raise BackupError("The backup changed while it was restored: run it again with a file that nobody writes to")
        child.feed(held)
        child.wait()
    progress.end()


def _put_back(session: Session) -> None:
    try:
        session.run(queries.put_back)
    except BackupError:
        say("what the database held could not be put back: it is in its schema before_restore, and the next restore puts it back first")
        raise
