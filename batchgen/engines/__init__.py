"""Where what is paid is brought in: in this process, or on the workers of a cluster.

An engine moves bytes and nothing else. Submissions, the budget and the state file stay
with the driver, and so does the key: a worker is given links, not credentials.
"""

from batchgen.engines.here import Here
from batchgen.engines.lease import Brought, Ended, Engine, Lease, News
from batchgen.engines.worker import Worker

__all__ = [
    "Brought",
    "Ended",
    "Engine",
    "Here",
    "Lease",
    "News",
    "Worker",
]
