#!/bin/sh
# The short cluster set for CI, with the seconds of each stage: build what is missing, up, images,
# tests, down. Down runs whatever happened before, and fails the whole if anything stays behind.
# Where a cluster cannot be had (no root, no Go) it says why and counts one skipped check.
set -u
cd "$(dirname "$0")/../.." || exit 1

skip() {
    echo "skipped: the cluster: $1"
    echo 'cluster: 0 passed, 0 failed, 1 skipped'
    exit $failed
}

timed() {
    sh e2e/timed.sh "$@" || failed=1
}

failed=0
timed cluster-lint make --no-print-directory cluster-lint
[ "$(id -u)" -eq 0 ] || skip 'it needs root, for its namespaces and cgroups'
command -v go >/dev/null || skip 'it needs Go, to build Kubernetes'

# A name of its own: a developer's cluster on the same machine stays as it is.
export E2E_CLUSTER=local E2E_CLUSTER_NAME=ci
timed cluster-programs python3 e2e/cluster/binaries.py debian
timed cluster-binaries python3 e2e/cluster/binaries.py kube
[ $failed -eq 0 ] && timed cluster-up make --no-print-directory cluster-up NODES=2
[ $failed -eq 0 ] && timed cluster-load make --no-print-directory cluster-load
[ $failed -eq 0 ] && timed cluster-test make --no-print-directory cluster-test SCENARIOS=--short
timed cluster-down make --no-print-directory cluster-down
exit $failed
