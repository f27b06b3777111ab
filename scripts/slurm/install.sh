#!/bin/sh
# Debian's Slurm, for the tests of launcher/cluster. Where it cannot be installed it says why, and the tests skip.
set -u
packages="slurmctld slurmd slurm-client munge"
command -v slurmctld >/dev/null && command -v munged >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Slurm is not installed here: that needs root and apt-get ($packages)"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
if ! said=$(apt-get install -y -q --no-install-recommends $packages 2>&1); then
    said=$( (apt-get update -q && apt-get install -y -q --no-install-recommends $packages) 2>&1) ||
        echo "Slurm cannot be installed here: $(echo "$said" | tail -n 1)"
fi
