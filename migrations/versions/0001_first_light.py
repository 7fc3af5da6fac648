"""First light: voices, people, keys' sets, verdicts, purges, the trail."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "voices",
    "versions",
    "subjects",
    "voice_subjects",
    "recording_sets",
    "artifacts",
    "consents",
    "holds",
    "verdicts",
    "accepted_risks",
    "purges",
    "outbox",
    "jobs",
    "events",
    "event_details",
    "checkpoints",
)


def upgrade() -> None:
    _voices()
    _people()
    _things()
    _findings()
    _purges()
    _trail()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), primary_key=True)


def _uid() -> sa.Column[str]:
    return sa.Column("uid", sa.String(32), nullable=False)


def _keys(table: str, *unique: str) -> list[sa.Constraint]:
    return [
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        *(sa.UniqueConstraint(column, name=f"uq_{table}_{column}") for column in unique),
    ]


def _to(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


def _index(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(f"ix_{table}_{column}", table, [column])


def _voices() -> None:
    op.create_table(
        "voices",
        _id(),
        _uid(),
        sa.Column("name", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("contact", sa.Text()),
        sa.Column("policy", sa.String(64), nullable=False),
        sa.Column("upstream", sa.Text()),
        sa.Column("mute", sa.Boolean(), nullable=False),
        sa.Column("own_voice", sa.Boolean(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
        *_keys("voices", "uid", "name"),
    )
    _index("voices", "state")
    op.create_table(
        "versions",
        _id(),
        _uid(),
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("identity", sa.String(80), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("withdrawn_at", sa.String(32)),
        *_keys("versions", "uid"),
        sa.UniqueConstraint("voice_id", "number", name="uq_versions_voice_number"),
        _to("versions", "voice_id", "voices.id"),
    )
    _index("versions", "voice_id", "identity")


def _people() -> None:
    op.create_table(
        "subjects",
        _id(),
        _uid(),
        sa.Column("pseudonym", sa.String(16), nullable=False),
        sa.Column("lookup_tag", sa.String(64)),
        sa.Column("label_sealed", sa.LargeBinary()),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        *_keys("subjects", "uid", "pseudonym", "lookup_tag"),
    )
    op.create_table(
        "voice_subjects",
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("voice_id", "subject_id", name="pk_voice_subjects"),
        _to("voice_subjects", "voice_id", "voices.id"),
        _to("voice_subjects", "subject_id", "subjects.id"),
    )
    _index("voice_subjects", "subject_id")
    op.create_table(
        "consents",
        _id(),
        _uid(),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("voice_id", sa.Integer()),
        sa.Column("scope", sa.String(64), nullable=False),
        sa.Column("valid_until", sa.String(32)),
        sa.Column("received_at", sa.String(32), nullable=False),
        sa.Column("evidence_uid", sa.String(32)),
        sa.Column("withdrawn_at", sa.String(32)),
        *_keys("consents", "uid"),
        _to("consents", "subject_id", "subjects.id"),
        _to("consents", "voice_id", "voices.id"),
    )
    _index("consents", "subject_id", "voice_id")
    op.create_table(
        "holds",
        _id(),
        _uid(),
        sa.Column("voice_id", sa.Integer()),
        sa.Column("subject_id", sa.Integer()),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("placed_at", sa.String(32), nullable=False),
        sa.Column("released_at", sa.String(32)),
        *_keys("holds", "uid"),
        _to("holds", "voice_id", "voices.id"),
        _to("holds", "subject_id", "subjects.id"),
    )
    _index("holds", "voice_id", "subject_id")


def _things() -> None:
    op.create_table(
        "recording_sets",
        _id(),
        _uid(),
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer()),
        sa.Column("data_class", sa.String(16), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("destroyed_at", sa.String(32)),
        *_keys("recording_sets", "uid", "key_id"),
        _to("recording_sets", "voice_id", "voices.id"),
        _to("recording_sets", "subject_id", "subjects.id"),
    )
    _index("recording_sets", "voice_id", "subject_id")
    op.create_table(
        "artifacts",
        _id(),
        _uid(),
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer()),
        sa.Column("set_id", sa.Integer()),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("data_class", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(32)),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("label_sealed", sa.LargeBinary()),
        sa.Column("fingerprint", sa.String(80)),
        sa.Column("added_at", sa.String(32), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        *_keys("artifacts", "uid"),
        _to("artifacts", "voice_id", "voices.id"),
        _to("artifacts", "version_id", "versions.id"),
        _to("artifacts", "set_id", "recording_sets.id"),
    )
    _index("artifacts", "voice_id", "version_id", "set_id", "digest", "fingerprint")


def _findings() -> None:
    op.create_table(
        "verdicts",
        _id(),
        _uid(),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("torch", sa.String(32), nullable=False),
        sa.Column("build", sa.String(64), nullable=False),
        sa.Column("python", sa.String(16), nullable=False),
        sa.Column("lock_hash", sa.String(80), nullable=False),
        sa.Column("engine_hash", sa.String(80), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("next", sa.Text()),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("sandbox", sa.String(16), nullable=False),
        sa.Column("inputs_hash", sa.String(80), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        *_keys("verdicts", "uid"),
        _to("verdicts", "version_id", "versions.id"),
    )
    _index("verdicts", "version_id")
    op.create_table(
        "accepted_risks",
        _id(),
        _uid(),
        sa.Column("voice_id", sa.Integer()),
        sa.Column("risk", sa.String(64), nullable=False),
        sa.Column("until", sa.String(32), nullable=False),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        *_keys("accepted_risks", "uid"),
        _to("accepted_risks", "voice_id", "voices.id"),
    )
    _index("accepted_risks", "voice_id")


def _purges() -> None:
    op.create_table(
        "purges",
        _id(),
        _uid(),
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("verb", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("plan_sealed", sa.LargeBinary()),
        sa.Column("plan_digest", sa.String(80), nullable=False),
        sa.Column("basis", sa.String(32)),
        sa.Column("request_sealed", sa.LargeBinary()),
        sa.Column("opened_at", sa.String(32), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
        *_keys("purges", "uid"),
        _to("purges", "voice_id", "voices.id"),
    )
    _index("purges", "voice_id", "state")
    op.create_table(
        "outbox",
        _id(),
        _uid(),
        sa.Column("purge_id", sa.Integer()),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("done_at", sa.String(32)),
        *_keys("outbox", "uid"),
        _to("outbox", "purge_id", "purges.id"),
    )
    _index("outbox", "purge_id")
    op.create_table(
        "jobs",
        _id(),
        _uid(),
        sa.Column("verb", sa.String(16), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("started_at", sa.String(32), nullable=False),
        sa.Column("ended_at", sa.String(32)),
        *_keys("jobs", "uid"),
    )


def _trail() -> None:
    op.create_table(
        "events",
        sa.Column("sequence", sa.Integer(), nullable=False, autoincrement=False),
        _uid(),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("verb", sa.String(32), nullable=False),
        sa.Column("voice_uid", sa.String(32)),
        sa.Column("subject_uid", sa.String(32)),
        sa.Column("details_digest", sa.String(80), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.String(64), nullable=False),
        sa.Column("chain_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_events"),
        sa.UniqueConstraint("uid", name="uq_events_uid"),
    )
    _index("events", "voice_uid", "subject_uid")
    op.create_table(
        "event_details",
        _id(),
        sa.Column("event_sequence", sa.Integer(), nullable=False),
        sa.Column("subject_uid", sa.String(32)),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        *_keys("event_details", "event_sequence"),
        _to("event_details", "event_sequence", "events.sequence"),
    )
    _index("event_details", "subject_uid")
    op.create_table(
        "checkpoints",
        _id(),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        *_keys("checkpoints", "size"),
    )
