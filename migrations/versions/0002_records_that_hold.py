"""Records that hold: uses, cases, notices, plans, findings, backups; sizes beyond 2 GiB; indexes for many voices."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NEW_TABLES = (
    "registry_facts",
    "uses",
    "cases",
    "papers",
    "notices",
    "plans",
    "findings",
    "import_rows",
    "backups",
)
# table -> its new columns, each nullable, so that no row has to be rewritten
NEW_COLUMNS: dict[str, tuple[tuple[str, sa.types.TypeEngine[Any]], ...]] = {
    "voices": (
        ("rights", sa.Text()),
        ("last_used_at", sa.String(32)),
        ("retired_at", sa.String(32)),
        ("contract_ends_at", sa.String(32)),
    ),
    "subjects": (("contact_sealed", sa.LargeBinary()),),
    "artifacts": (("recorded_at", sa.String(32)),),
    "consents": (("valid_from", sa.String(32)), ("renews_uid", sa.String(32))),
    "holds": (("review_on", sa.String(10)),),
    "jobs": (("machine", sa.String(64)),),
}
NEW_INDEXES = (("voices", "owner"), ("voices", "policy"))


def upgrade() -> None:
    for table, columns in NEW_COLUMNS.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind, nullable=True))
    for table, column in NEW_INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])
    # Whether a voice has a file of a role is answered by the index alone, without reading any of its files' rows.
    op.create_index("ix_artifacts_voice_role", "artifacts", ["voice_id", "role"])
    op.drop_index("ix_artifacts_voice_id", "artifacts")
    op.create_index("ix_artifacts_class_added", "artifacts", ["data_class", "added_at"])
    _size(sa.Integer(), sa.BigInteger())
    op.create_table(
        "registry_facts",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_registry_facts"),
    )
    _promises()
    _memory()


def downgrade() -> None:
    for table in reversed(NEW_TABLES):
        op.drop_table(table)
    _size(sa.BigInteger(), sa.Integer())
    op.drop_index("ix_artifacts_class_added", "artifacts")
    op.create_index("ix_artifacts_voice_id", "artifacts", ["voice_id"])
    op.drop_index("ix_artifacts_voice_role", "artifacts")
    for table, column in NEW_INDEXES:
        op.drop_index(f"ix_{table}_{column}", table)
    for table, columns in NEW_COLUMNS.items():
        for name, _ in columns:
            op.drop_column(table, name)


def _size(before: sa.types.TypeEngine[int], after: sa.types.TypeEngine[int]) -> None:
    # SQLite keeps every integer in 64 bits whatever its column is called; rewriting the table gains nothing.
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("artifacts", "size_bytes", existing_type=before, type_=after, existing_nullable=False)


def _head(table: str, *columns: sa.Column[object], uid: bool = True) -> None:
    parts: list[sa.schema.SchemaItem] = [sa.Column("id", sa.Integer(), primary_key=True)]
    keys: list[sa.schema.SchemaItem] = [sa.PrimaryKeyConstraint("id", name=f"pk_{table}")]
    if uid:
        parts.append(sa.Column("uid", sa.String(32), nullable=False))
        keys.append(sa.UniqueConstraint("uid", name=f"uq_{table}_uid"))
    op.create_table(table, *parts, *columns, *keys)


def _time(name: str, *, always: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.String(32), nullable=not always)


def _of(table: str, target: str, *, always: bool = True) -> sa.Column[object]:
    link = sa.ForeignKey(f"{target}s.id", name=f"fk_{table}_{target}_id")
    return sa.Column(f"{target}_id", sa.Integer(), link, nullable=not always)


def _index(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(f"ix_{table}_{column}", table, [column])


def _promises() -> None:
    _head(
        "uses",
        _of("uses", "voice"),
        sa.Column("place", sa.String(255), nullable=False),
        _time("claimed_at", always=True),
        _time("valid_until"),
        _time("removed_at"),
    )
    _index("uses", "voice_id", "place")
    _head(
        "cases",
        _of("cases", "subject"),
        _of("cases", "voice", always=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("received_on", sa.String(10), nullable=False),
        sa.Column("due_on", sa.String(10), nullable=False),
        _time("opened_at", always=True),
        _time("closed_at"),
        sa.Column("outcome", sa.String(16), nullable=True),
        sa.Column("request_sealed", sa.LargeBinary()),
    )
    _index("cases", "subject_id", "voice_id", "due_on", "closed_at")
    _head(
        "papers",
        _of("papers", "subject"),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("size_bytes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("label_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("fingerprint", sa.String(80), nullable=True),
        _time("added_at", always=True),
        sa.Column("present", sa.Boolean(), nullable=False),
    )
    _index("papers", "subject_id")
    _head(
        "notices",
        _of("notices", "voice"),
        sa.Column("policy", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("item", sa.String(32), nullable=False),
        sa.Column("stage", sa.String(24), nullable=False),
        _time("due_at", always=True),
        _time("noticed_at", always=True),
        _time("delivered_at"),
    )
    op.create_index(
        "uq_notices_item_rule_stage_due", "notices", ["item", "rule", "stage", "due_at"], unique=True
    )
    _index("notices", "voice_id")


def _memory() -> None:
    _head(
        "plans",
        sa.Column("policy", sa.String(64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("inventory_digest", sa.String(80), nullable=False),
        sa.Column("scheduled", sa.Boolean(), nullable=False),
        _time("made_at", always=True),
        _time("applied_at"),
    )
    _head(
        "findings",
        _of("findings", "voice", always=False),
        sa.Column("risk", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        _time("first_seen_at", always=True),
        _time("notified_at"),
        uid=False,
    )
    op.create_index(
        "uq_findings_risk_severity_voice", "findings", ["risk", "severity", "voice_id"], unique=True
    )
    _index("findings", "voice_id")
    _head(
        "import_rows",
        _of("import_rows", "voice"),
        sa.Column("row_digest", sa.String(80), nullable=False),
        _time("at", always=True),
        uid=False,
    )
    op.create_index("uq_import_rows_row_digest", "import_rows", ["row_digest"], unique=True)
    _index("import_rows", "voice_id")
    _head(
        "backups",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("place_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("trail_size", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        _time("made_at", always=True),
        _time("checked_at"),
    )
