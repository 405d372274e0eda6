#!/bin/bash
# One run on four nodes: sbatch manifests/cluster/slurm.sh
# Submit it where `batchgen` is on the PATH and WAVESPEED_API_KEY_FILE is set: the jobs
# of the array take over the environment.
#SBATCH --job-name=batchgen
#SBATCH --array=1-4
#SBATCH --cpus-per-task=1
#SBATCH --mem=1G
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --output=batchgen-%A-%a.log
set -euo pipefail

# For the life of the run. Not SLURM_ARRAY_TASK_COUNT: that is 1 when a single shard is
# submitted again.
shards=4

# What was bought is written here: every node has to see it, also the one on which a job
# is put back into the queue, and locks have to hold (GPFS, CephFS, Lustre with `flock`;
# NFS is refused).
export BATCHGEN_OUTPUTS="${BATCHGEN_OUTPUTS:-/scratch/$USER/outputs}"

exec batchgen run manifests/spring-launch.yaml \
  --shard "$SLURM_ARRAY_TASK_ID/$shards" --budget 70 --yes --quiet
