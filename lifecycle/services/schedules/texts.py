"""What each scheduler wants to read: units, a crontab line, a property list, a CronJob, a workflow.

Nothing secret is written into any of them. What is shipped in `deploy/` comes from here too.
"""

from __future__ import annotations

import json
import plistlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lifecycle.domain.errors import UsageError

KINDS = ("systemd", "cron", "launchd", "kubernetes", "github")
UNIT = "vlm-audit"
LABEL = "org.voice-lifecycle.audit"
MARK = "vlm schedule"


@dataclass(frozen=True, slots=True)
class Job:
    """What is to run each night, and where everything lies.

    Attributes:
        program: The words that start vlm, the first one absolute.
        installation: Id of the registry; the first 12 digits mark what belongs to it.
        hour: Local time; UTC for kubernetes and github.
        environment: Variables that hold no secret.
        env_file: Where a system administrator may put variables that do.
        user: Account of a system unit; None for a unit of the user's own.
        arguments: More words for the audit.
        image: The container that holds vlm.
    """

    program: tuple[str, ...]
    installation: str
    home: PurePosixPath
    keys: PurePosixPath
    out: PurePosixPath
    hour: int = 3
    minute: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    env_file: str = "%h/.config/vlm/vlm.env"
    user: str | None = None
    arguments: tuple[str, ...] = ()
    image: str = "vlm:latest"

    @property
    def words(self) -> tuple[str, ...]:
        """The command line."""
        return (*self.program, *self.audit)

    @property
    def audit(self) -> tuple[str, ...]:
        """The command line without the program."""
        return ("audit", "--scheduled", "--out", str(self.out), *self.arguments)

    @property
    def mark(self) -> str:
        """What marks a text as ours and this registry's."""
        return f"{MARK}, registry {self.installation[:12]}"

    @property
    def variables(self) -> dict[str, str]:
        """Every variable, VLM_HOME and VLM_KEYS first."""
        return {"VLM_HOME": str(self.home), "VLM_KEYS": str(self.keys), **self.environment}


def texts(kind: str, job: Job) -> dict[str, str]:
    """Return the files of a scheduler by their names.

    Raises:
        UsageError: There is no such scheduler, or a word holds a line break.
    """
    makers = {
        "systemd": systemd,
        "cron": cron,
        "launchd": launchd,
        "kubernetes": kubernetes,
        "github": github,
    }
    if kind not in makers:
        raise UsageError(f'"{kind}" is no scheduler that is known', hint=f"one of: {', '.join(KINDS)}")
    for word in (*job.words, *job.variables.values()):
        if re.search(r"[\x00-\x1f\x7f\x85\u2028\u2029]", word):
            raise UsageError("a path or an argument of the schedule holds a control character")
    return makers[kind](job)


def systemd(job: Job) -> dict[str, str]:
    """Return a oneshot service with a timer that makes up for a missed night."""
    mark = f"# {job.mark}"
    return {f"{UNIT}.service": f"{mark}\n{_service(job)}", f"{UNIT}.timer": f"{mark}\n{_timer(job)}"}


def _service(job: Job) -> str:
    variables = " ".join(_quoted(f"{key}={value}") for key, value in job.variables.items())
    places = " ".join(dict.fromkeys(_quoted(str(path)) for path in (job.home, job.keys, job.out)))
    lines = ["[Unit]", "Description=Audit of the voices in the care of vlm"]
    if job.user is not None:
        lines += ["Wants=network-online.target", "After=network-online.target"]
    lines += [
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={' '.join(map(_quoted_argument, job.words))}",
        f"Environment={variables}",
        "# What is secret, such as VLM_DATABASE_URL, goes into this file (mode 0600) or into vlm.toml",
        f"EnvironmentFile=-{job.env_file}",
        "# 10 and 11 mean that the audit is done and found something; it tells that itself",
        "SuccessExitStatus=10 11",
        "TimeoutStartSec=6h",
        "Nice=10",
        "IOSchedulingClass=idle",
        "UMask=0077",
        *([] if job.user is None else [f"User={job.user}", *_OF_THE_SYSTEM]),
        *_FENCES,
        f"ReadWritePaths={places}",
    ]
    return "\n".join(lines) + "\n"


_FENCES = (
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "PrivateTmp=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "SystemCallArchitectures=native",
)
# These take capabilities away, which a user's own service manager may not do.
_OF_THE_SYSTEM = (
    "CapabilityBoundingSet=",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "RestrictNamespaces=yes",
    "SystemCallFilter=@system-service",
)


def _timer(job: Job) -> str:
    lines = [
        "[Unit]",
        "Description=Audit of the voices in the care of vlm, each night",
        "",
        "[Timer]",
        f"OnCalendar=*-*-* {job.hour:02d}:{job.minute:02d}:00",
        "Persistent=true",
        "RandomizedDelaySec=15min",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    """Return a word for a unit: percent signs doubled, quoted where it must be. Source: systemd.syntax(7)."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9_@:,.+/=%-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _quoted_argument(word: str) -> str:
    return _quoted(word.replace("$", "$$"))


def cron(job: Job) -> dict[str, str]:
    """Return a block for a crontab, between two lines that mark it."""
    begin, end = cron_marks(job)
    variables = [f"{key}={shlex.quote(value)}" for key, value in job.variables.items()]
    command = " ".join([*variables, *map(shlex.quote, job.words)]).replace("%", "\\%")
    return {"crontab": f"{begin}\n{job.minute} {job.hour} * * * {command}\n{end}\n"}


def cron_marks(job: Job) -> tuple[str, str]:
    """Return the lines around our block."""
    return f"# begin {job.mark}", f"# end {job.mark}"


def launchd(job: Job) -> dict[str, str]:
    """Return a property list for the user's launch agents."""
    body = {
        "Label": LABEL,
        "ProgramArguments": list(job.words),
        "EnvironmentVariables": job.variables,
        "StartCalendarInterval": {"Hour": job.hour, "Minute": job.minute},
        "ProcessType": "Background",
        "LowPriorityIO": True,
        "Umask": 0o077,
        "StandardErrorPath": str(job.home / "logs" / "nightly.log"),
    }
    return {f"{LABEL}.plist": plistlib.dumps(body).decode()}


def kubernetes(job: Job) -> dict[str, str]:
    """Return a CronJob: one at a time, without rights, secrets by reference.

    Its audit never fails because of what it found, since a failed Job is run again: metrics and notifications tell.
    """
    # Kubernetes puts variables in place of $(NAME), unless the dollar sign is doubled.
    words = [word.replace("$(", "$$(") for word in (*job.audit, "--fail-on", "never")]
    arguments = json.dumps(words, ensure_ascii=False)
    variables = "\n".join(
        f"                - {{name: {key}, value: {json.dumps(value, ensure_ascii=False)}}}"
        for key, value in job.variables.items()
    )
    return {
        f"{UNIT}.yaml": _CRON_JOB.format(
            mark=job.mark,
            unit=UNIT,
            minute=job.minute,
            hour=job.hour,
            image=json.dumps(job.image),
            command=json.dumps(list(job.program), ensure_ascii=False),
            arguments=arguments,
            variables=variables,
            home=json.dumps(str(job.home)),
            keys=json.dumps(str(job.keys)),
            out=json.dumps(str(job.out)),
        )
    }


_CRON_JOB = """\
# {mark}
# VLM_DATABASE_URL and VLM_NOTIFY come from the Secret {unit}:
#   kubectl create secret generic {unit} --from-file=VLM_NOTIFY=notify.txt
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {unit}
  labels: {{app.kubernetes.io/name: {unit}}}
spec:
  schedule: "{minute} {hour} * * *"
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 14400
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 1
      activeDeadlineSeconds: 21600
      template:
        metadata:
          labels: {{app.kubernetes.io/name: {unit}}}
        spec:
          restartPolicy: Never
          automountServiceAccountToken: false
          securityContext:
            runAsNonRoot: true
            runAsUser: 10001
            runAsGroup: 10001
            fsGroup: 10001
            seccompProfile: {{type: RuntimeDefault}}
          containers:
            - name: audit
              image: {image}
              command: {command}
              args: {arguments}
              env:
{variables}
                - {{name: HOME, value: /tmp}}
              envFrom:
                - secretRef: {{name: {unit}, optional: true}}
              resources:
                requests: {{cpu: 250m, memory: 256Mi}}
                limits: {{cpu: "2", memory: 1Gi}}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {{drop: [ALL]}}
              volumeMounts:
                - {{name: registry, mountPath: {home}}}
                - {{name: keys, mountPath: {keys}}}
                - {{name: reports, mountPath: {out}}}
                - {{name: tmp, mountPath: /tmp}}
          volumes:
            - name: registry
              persistentVolumeClaim: {{claimName: vlm-registry}}
            - name: keys
              persistentVolumeClaim: {{claimName: vlm-keys}}
            - name: reports
              persistentVolumeClaim: {{claimName: vlm-reports}}
            - name: tmp
              emptyDir: {{sizeLimit: 256Mi}}
"""


def github(job: Job) -> dict[str, str]:
    """Return a workflow for a runner of one's own, which is where the registry lies."""
    variables = "\n".join(
        f"      {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in job.variables.items()
    )
    return {
        f"{UNIT}.yml": _WORKFLOW.format(
            mark=job.mark,
            unit=UNIT,
            minute=job.minute,
            hour=job.hour,
            variables=variables,
            command=" ".join(map(shlex.quote, job.words)),
            sarif=json.dumps(str(job.out / "audit.sarif"), ensure_ascii=False),
        )
    }


_WORKFLOW = """\
# {mark}
# The runner is the machine with the registry. Secrets: VLM_DATABASE_URL, VLM_NOTIFY, where they are needed.
name: {unit}
on:
  schedule:
    - cron: "{minute} {hour} * * *"
  workflow_dispatch:
permissions:
  contents: read
  security-events: write
concurrency:
  group: {unit}
  cancel-in-progress: false
jobs:
  audit:
    runs-on: [self-hosted, vlm]
    timeout-minutes: 360
    env:
{variables}
      VLM_DATABASE_URL: ${{{{ secrets.VLM_DATABASE_URL }}}}
      VLM_NOTIFY: ${{{{ secrets.VLM_NOTIFY }}}}
    steps:
      - name: Audit
        run: |
          {command}
      - name: Show the findings
        if: always()
        uses: github/codeql-action/upload-sarif@v3
        with:
          sarif_file: {sarif}
          category: vlm
"""


def shipped() -> dict[str, str]:
    """Return what lies in `deploy/`, by path: for a registry in the places that packages use."""
    place = PurePosixPath("/var/lib")
    job = Job(
        program=("/usr/local/bin/vlm",),
        installation="of this machine",
        home=place / "vlm",
        keys=place / "vlm-keys",
        out=place / "vlm-audit",
        env_file="/etc/vlm/vlm.env",
        user="vlm",
    )
    return {
        f"{kind}/{name}": text
        for kind in ("systemd", "kubernetes", "github")
        for name, text in texts(kind, job).items()
    }
