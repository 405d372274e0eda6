"""Every exception that batchgen raises on purpose, named for what to do next.

BatchgenError                 printed without a traceback; all else is a bug
├── UsageError                a flag, a name, a missing extra: nothing was begun
├── ManifestError             carries all findings
├── CatalogError
├── JournalError
│   ├── JournalLocked         another process holds this run
│   └── JournalDamaged        edited, damaged or rolled back: spending is refused
├── StoreError                the local disk does not take or give a file
├── EngineLost                the cluster that fetches is gone; what is paid is safe
└── ApiError
    ├── Refused               a definite no before work began: free
    ├── NotSent               the request provably never left
    ├── Uncertain             a submission got no usable answer: may be charged
    └── Unavailable           a reading request failed: repeat at will
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchgen.findings import Finding


class BatchgenError(Exception):
    """Anything the user can be told in a sentence.

    `rule` is the word in brackets at the end of the printed line; `advice` the
    indented lines below it.
    """

    rule = "error"

    def __init__(self, message: str, *, rule: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule or type(self).rule
        self.advice = advice


class UsageError(BatchgenError):
    """The command line asks for something that cannot be begun."""

    rule = "usage"


class ManifestError(BatchgenError):
    """The manifest has mistakes; `findings` holds all of them, sorted by place."""

    rule = "manifest"

    def __init__(self, findings: Sequence["Finding"]) -> None:
        super().__init__(f"{len(findings)} mistakes in the manifest")
        self.findings = tuple(findings)


class CatalogError(BatchgenError):
    """A model's data file is not what it should be."""

    rule = "catalog"


class JournalError(BatchgenError):
    """The state file does not say what it may say; nothing is spent on it."""

    rule = "state"


class JournalLocked(JournalError):
    """Another process holds this run."""

    rule = "locked"


class JournalDamaged(JournalError):
    """The state file was damaged, edited or rolled back."""

    rule = "damaged"


class StoreError(BatchgenError):
    """A file cannot be written or read where it belongs."""

    rule = "disk"


class EngineLost(BatchgenError):
    """Nobody is left to fetch clips; what is paid is left to the next session."""

    rule = "engine-lost"


class ApiError(BatchgenError):
    """The generation API did not do as asked; `http` is its status, if one came."""

    rule = "api"

    def __init__(
        self,
        message: str,
        *,
        http: int | None = None,
        rule: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(message, rule=rule, advice=advice)
        self.http = http


class Refused(ApiError):
    """A definite no before work began: free of charge.

    `kind` is one of invalid, model, key, credit, rate, busy; `retry_after` is in
    seconds.
    """

    rule = "refused"

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        http: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, http=http)
        self.kind = kind
        self.retryable = retryable
        self.retry_after = retry_after


class NotSent(ApiError):
    """The request provably never left this machine; `phase` is how far it came."""

    rule = "not-sent"

    def __init__(self, message: str, *, phase: str) -> None:
        super().__init__(message)
        self.phase = phase


class Uncertain(ApiError):
    """A submission got no usable answer: it may be charged, never repeat it.

    `evidence` is the beginning of what did come back.
    """

    rule = "uncertain"

    def __init__(
        self, message: str, *, phase: str, http: int | None = None, evidence: str = ""
    ) -> None:
        super().__init__(message, http=http)
        self.phase = phase
        self.evidence = evidence


class Unavailable(ApiError):
    """A reading request failed; it may be repeated at will, after `retry_after`."""

    rule = "unavailable"

    def __init__(
        self,
        message: str,
        *,
        http: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, http=http)
        self.retry_after = retry_after
