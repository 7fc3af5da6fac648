"""A policy that purges recordings a while after they were registered, for tests to vary."""

POLICY = """\
apiVersion: vlm/1
kind: RetentionPolicy
id: mine
version: 1
owner: video
legal_basis: contract 12
timezone: UTC
dry_run_first: true
notice:
  before: []
limits:
  max_items_per_run: 5
  max_bytes_per_run: 1000000000
  max_fraction_of_store: 1
  verify_seconds: 60
  verify_memory_mb: 4096
audit:
  consent_due_days: 30
  verify_every_days: 90
rules:
  - id: old
    applies_to:
      classes: [source]
      states: [active, deprecated, retired]
    time_base: registered_at
    delete_after: P1Y
    action: purge_audio
"""
