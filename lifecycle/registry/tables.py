"""The registry's tables (SQLAlchemy Core); the migrations spell out the same schema.

Text about people lies in sealed columns (`*_sealed`) that can be deleted row by row. Ids are random, never
derived from names. Times are RFC 3339 UTC text with microseconds, so that both databases sort them alike.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _uid() -> Column[str]:
    return Column("uid", String(32), nullable=False, unique=True)


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


voices = Table(
    "voices",
    metadata,
    _id(),
    _uid(),
    Column("name", String(64), nullable=True, unique=True),
    Column("state", String(16), nullable=False, index=True),
    Column("owner", Text, index=True),
    Column("contact", Text),
    Column("rights", Text),
    Column("policy", String(64), nullable=False, index=True),
    Column("upstream", Text),
    Column("mute", Boolean, nullable=False, default=False),
    Column("own_voice", Boolean, nullable=False, default=False),
    Column("facts", JSON, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("changed_at", String(32), nullable=False),
    Column("last_used_at", String(32)),
    Column("retired_at", String(32)),
    Column("contract_ends_at", String(32)),
)

versions = Table(
    "versions",
    metadata,
    _id(),
    _uid(),
    Column("voice_id", ForeignKey("voices.id"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("identity", String(80), nullable=False, index=True),
    Column("created_at", String(32), nullable=False),
    Column("withdrawn_at", String(32)),
    UniqueConstraint("voice_id", "number", name="uq_versions_voice_number"),
)

subjects = Table(
    "subjects",
    metadata,
    _id(),
    _uid(),
    Column("pseudonym", String(16), nullable=False, unique=True),
    Column("lookup_tag", String(64), unique=True),
    Column("label_sealed", LargeBinary),
    Column("contact_sealed", LargeBinary),
    Column("generation", Integer, nullable=False, default=0),
    Column("created_at", String(32), nullable=False),
)

voice_subjects = Table(
    "voice_subjects",
    metadata,
    Column("voice_id", ForeignKey("voices.id"), primary_key=True),
    Column("subject_id", ForeignKey("subjects.id"), primary_key=True, index=True),
)

recording_sets = Table(
    "recording_sets",
    metadata,
    _id(),
    _uid(),
    Column("voice_id", ForeignKey("voices.id"), nullable=False, index=True),
    Column("subject_id", ForeignKey("subjects.id"), nullable=True, index=True),
    Column("data_class", String(16), nullable=False),
    Column("key_id", String(32), nullable=False, unique=True),
    Column("created_at", String(32), nullable=False),
    Column("destroyed_at", String(32)),
)

artifacts = Table(
    "artifacts",
    metadata,
    _id(),
    _uid(),
    Column("voice_id", ForeignKey("voices.id"), nullable=False),
    Column("version_id", ForeignKey("versions.id"), nullable=True, index=True),
    Column("set_id", ForeignKey("recording_sets.id"), nullable=True, index=True),
    Column("role", String(16), nullable=False),
    Column("data_class", String(16), nullable=False),
    Column("digest", String(80), nullable=False, index=True),
    Column("size_bytes", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("key_id", String(32)),
    Column("kind", String(64), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("label_sealed", LargeBinary),
    Column("fingerprint", String(80), index=True),
    Column("recorded_at", String(32)),
    Column("added_at", String(32), nullable=False),
    Column("present", Boolean, nullable=False, default=True),
    Index("ix_artifacts_voice_role", "voice_id", "role"),
    Index("ix_artifacts_class_added", "data_class", "added_at"),
)

consents = Table(
    "consents",
    metadata,
    _id(),
    _uid(),
    Column("subject_id", ForeignKey("subjects.id"), nullable=False, index=True),
    Column("voice_id", ForeignKey("voices.id"), nullable=True, index=True),
    Column("scope", String(64), nullable=False),
    Column("valid_from", String(32)),
    Column("valid_until", String(32)),
    Column("received_at", String(32), nullable=False),
    Column("evidence_uid", String(32)),
    Column("renews_uid", String(32)),
    Column("withdrawn_at", String(32)),
)

holds = Table(
    "holds",
    metadata,
    _id(),
    _uid(),
    Column("voice_id", ForeignKey("voices.id"), nullable=True, index=True),
    Column("subject_id", ForeignKey("subjects.id"), nullable=True, index=True),
    Column("reason_sealed", LargeBinary, nullable=False),
    Column("placed_at", String(32), nullable=False),
    Column("review_on", String(10)),
    Column("released_at", String(32)),
)

verdicts = Table(
    "verdicts",
    metadata,
    _id(),
    _uid(),
    Column("version_id", ForeignKey("versions.id"), nullable=False, index=True),
    Column("torch", String(32), nullable=False),
    Column("build", String(64), nullable=False),
    Column("python", String(16), nullable=False),
    Column("lock_hash", String(80), nullable=False),
    Column("engine_hash", String(80), nullable=False),
    Column("device", String(64), nullable=False),
    Column("code", String(16), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("next", Text),
    Column("detail", JSON, nullable=False),
    Column("sandbox", String(16), nullable=False),
    Column("inputs_hash", String(80), nullable=False),
    Column("at", String(32), nullable=False),
)

accepted_risks = Table(
    "accepted_risks",
    metadata,
    _id(),
    _uid(),
    Column("voice_id", ForeignKey("voices.id"), nullable=True, index=True),
    Column("risk", String(64), nullable=False),
    Column("until", String(32), nullable=False),
    Column("reason_sealed", LargeBinary, nullable=False),
    Column("at", String(32), nullable=False),
)

purges = Table(
    "purges",
    metadata,
    _id(),
    _uid(),
    Column("voice_id", ForeignKey("voices.id"), nullable=False, index=True),
    Column("verb", String(16), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("plan", JSON, nullable=False),
    Column("plan_sealed", LargeBinary),
    Column("plan_digest", String(80), nullable=False),
    Column("basis", String(32)),
    Column("request_sealed", LargeBinary),
    Column("opened_at", String(32), nullable=False),
    Column("changed_at", String(32), nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    _uid(),
    Column("purge_id", ForeignKey("purges.id"), nullable=True, index=True),
    Column("action", String(32), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("done_at", String(32)),
)

jobs = Table(
    "jobs",
    metadata,
    _id(),
    _uid(),
    Column("verb", String(16), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("machine", String(64)),
    Column("started_at", String(32), nullable=False),
    Column("ended_at", String(32)),
)

events = Table(
    "events",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    _uid(),
    Column("at", String(32), nullable=False),
    Column("verb", String(32), nullable=False),
    Column("voice_uid", String(32), index=True),
    Column("subject_uid", String(32), index=True),
    Column("details_digest", String(80), nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("leaf_hash", String(64), nullable=False),
    Column("chain_hash", String(64), nullable=False),
)

event_details = Table(
    "event_details",
    metadata,
    _id(),
    Column("event_sequence", ForeignKey("events.sequence"), nullable=False, unique=True),
    Column("subject_uid", String(32), index=True),
    Column("sealed", LargeBinary, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _id(),
    Column("size", Integer, nullable=False, unique=True),
    Column("root", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Column("note", Text, nullable=False),
)

registry_facts = Table(
    "registry_facts",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

uses = Table(
    "uses",
    metadata,
    _id(),
    _uid(),
    Column("voice_id", ForeignKey("voices.id"), nullable=False, index=True),
    Column("place", String(255), nullable=False, index=True),
    Column("claimed_at", String(32), nullable=False),
    Column("valid_until", String(32)),
    Column("removed_at", String(32)),
)

cases = Table(
    "cases",
    metadata,
    _id(),
    _uid(),
    Column("subject_id", ForeignKey("subjects.id"), nullable=False, index=True),
    Column("voice_id", ForeignKey("voices.id"), nullable=True, index=True),
    Column("kind", String(16), nullable=False),
    Column("received_on", String(10), nullable=False),
    Column("due_on", String(10), nullable=False, index=True),
    Column("opened_at", String(32), nullable=False),
    Column("closed_at", String(32), index=True),
    Column("outcome", String(16)),
    Column("request_sealed", LargeBinary),
)

papers = Table(
    "papers",
    metadata,
    _id(),
    _uid(),
    Column("subject_id", ForeignKey("subjects.id"), nullable=False, index=True),
    Column("digest", String(80), nullable=False),
    Column("size_bytes", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("label_sealed", LargeBinary),
    Column("fingerprint", String(80)),
    Column("added_at", String(32), nullable=False),
    Column("present", Boolean, nullable=False, default=True),
)

notices = Table(
    "notices",
    metadata,
    _id(),
    _uid(),
    Column("voice_id", ForeignKey("voices.id"), nullable=False, index=True),
    Column("policy", String(64), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("item", String(32), nullable=False),
    Column("stage", String(24), nullable=False),
    Column("due_at", String(32), nullable=False),
    Column("noticed_at", String(32), nullable=False),
    Column("delivered_at", String(32)),
    Index("uq_notices_item_rule_stage_due", "item", "rule", "stage", "due_at", unique=True),
)

plans = Table(
    "plans",
    metadata,
    _id(),
    _uid(),
    Column("policy", String(64), nullable=False),
    Column("body", JSON, nullable=False),
    Column("inventory_digest", String(80), nullable=False),
    Column("scheduled", Boolean, nullable=False, default=False),
    Column("made_at", String(32), nullable=False),
    Column("applied_at", String(32)),
)

findings = Table(
    "findings",
    metadata,
    _id(),
    Column("voice_id", ForeignKey("voices.id"), nullable=True, index=True),
    Column("risk", String(64), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("first_seen_at", String(32), nullable=False),
    Column("notified_at", String(32)),
    Index("uq_findings_risk_severity_voice", "risk", "severity", "voice_id", unique=True),
)

import_rows = Table(
    "import_rows",
    metadata,
    _id(),
    Column("voice_id", ForeignKey("voices.id"), nullable=False, index=True),
    Column("row_digest", String(80), nullable=False),
    Column("at", String(32), nullable=False),
    Index("uq_import_rows_row_digest", "row_digest", unique=True),
)

backups = Table(
    "backups",
    metadata,
    _id(),
    _uid(),
    Column("kind", String(16), nullable=False),
    Column("place_sealed", LargeBinary, nullable=False),
    Column("trail_size", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("made_at", String(32), nullable=False),
    Column("checked_at", String(32)),
)
