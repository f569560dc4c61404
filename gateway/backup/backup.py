"""`gateway backup`: the database as it is at one moment, and the adapters that it names, into one file."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from gateway.backup import queries
from gateway.backup.adapters import storage_of, write_adapters
from gateway.backup.archive import MANIFEST, MANIFEST_DIGEST, ArchiveWriter, opened_for_writing
from gateway.backup.errors import BackupError
from gateway.backup.manifest import FORMAT, Manifest, digest_line, encode
from gateway.backup.programs import Login, find, running
from gateway.backup.progress import Progress, say
from gateway.backup.session import Session
from gateway.backup.settings import BackupSettings


def back_up(settings: BackupSettings, target: str) -> None:
    """Write a backup to a file, or to standard output (`-`).

    Raises:
        BackupError: there is none, and nothing under the file's name that was not there before.
    """
    with Session(settings.database_url) as session, tempfile.TemporaryDirectory(prefix="backup-") as copies:
        storage = storage_of(settings, Path(copies))
        snapshot = session.run(queries.begin_snapshot)
        schema = session.run(queries.schema_version)
        if schema is None:
            raise BackupError(
                "The database at DATABASE_URL has no tables of the gateway's: is it the right one? `gateway migrate` makes them"
            )
        server = session.run(queries.server_major)
        program = find("pg_dump", lowest=server)
        taken_at = datetime.now(UTC)
        with opened_for_writing(target) as stream:
            writer = ArchiveWriter(stream, taken_at)
            adapters = write_adapters(writer, storage, session.run(queries.adapters))
            rows = session.run(queries.counts)
            dump = ["--format=custom", "--no-owner", "--no-privileges", "--table=public.*", f"--snapshot={snapshot}"]
            progress = Progress("database")
            with running(program, dump, Login.of(settings.database_url)) as child:
                database = writer.add_database(child.output, progress)
                child.wait()
            progress.end()
            manifest = Manifest(
                format=FORMAT,
                created_at=taken_at,
                schema=schema,
                server=server,
                dumped_with=program.major,
                rows=rows,
                database=database,
                adapters=adapters.taken,
                adapters_without_files=adapters.missing,
                files=adapters.files,
            )
            data = encode(manifest)
            writer.add_bytes(MANIFEST, data)
            writer.add_bytes(MANIFEST_DIGEST, digest_line(data))
            writer.end()
    say(f"backed up {manifest.summary()}")
    if adapters.missing:
        say(f"{adapters.missing} adapters have no whole files in ADAPTER_STORE: the backup has only their rows, and drafts do without them")
    if program.major > server:
        say(f"pg_dump {program.major} wrote it, so it needs PostgreSQL {program.major} or newer to be restored; this server is {server}")
