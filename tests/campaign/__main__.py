"""`python -m tests.campaign WHAT …`: one campaign by name, with its own flags."""

import sys
from collections.abc import Sequence
from importlib import import_module

CAMPAIGNS = {
    "model": "protocol",  # every reachable state of a model of the protocol
    "kills": "kills",  # SIGKILL over batches on a real sandbox
    "matrix": "http_matrix",  # every way a submission can be answered
    "mutants": "mutants",  # does a test notice broken money code?
    "simulate": "simulate",  # the real runner on a virtual clock
    "stateful": "stateful",  # any steps in any order, chosen one by one
    "soak": "soak",  # very many clips in one run, through many deaths
    "crashes": "crashes",  # death at every I/O call
    "failures": "failures",  # every I/O call fails
    "fuzz": "fuzz",  # damaged state files
}


def main(argv: Sequence[str]) -> int:
    """Run one campaign; its exit code, or 2 if there is no such one."""
    if not argv or argv[0] not in CAMPAIGNS:
        print(f"usage: python -m tests.campaign {{{','.join(CAMPAIGNS)}}} …")
        return 2
    campaign = import_module(f".{CAMPAIGNS[argv[0]]}", __package__)
    code: int = campaign.main(argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
