"""One run whose clips are fetched by workers from a Slurm queue.

    pip install 'batchgen[dask]' dask-jobqueue
    python manifests/cluster/dask_slurm.py manifests/spring-launch.yaml --yes

Start it where the run's folder is on a file system that all nodes see. This process
alone buys, and holds the key and the state file; a worker that is taken away in the
middle of a clip costs nothing. Whoever reaches the scheduler's port may run programs on
the workers, so let it be in the cluster's own network.
"""

import subprocess
import sys

from dask_jobqueue import SLURMCluster

MOST = 8  # jobs in the queue


def main() -> int:
    """Ask for workers, and run; the exit code is batchgen's."""
    with SLURMCluster(
        cores=1,
        processes=1,
        memory="2GB",
        walltime="04:00:00",
        death_timeout=120,
        # A job would inherit the environment, and the key is no business of workers.
        job_extra_directives=["--export=NONE"],
    ) as cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=MOST)
        words = ["--engine", "dask", "--scheduler", cluster.scheduler_address]
        command = ["batchgen", "run", *sys.argv[1:], *words]
        return subprocess.run(command, check=False).returncode  # noqa: S603 - as typed


if __name__ == "__main__":
    sys.exit(main())
