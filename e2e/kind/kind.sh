#!/bin/sh
# The same tests on kind: kind.sh up | load ARCHIVE... | down. Then E2E_CLUSTER=kind for the tests.
# Needs kind and docker on the PATH, and a registry that kind's node image can be pulled from.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
name=millstream

for program in kind docker; do
    if ! command -v "$program" >/dev/null; then
        echo "missing: $program is not on the PATH" >&2
        exit 1
    fi
done

case "${1:-}" in
up)
    if kind get clusters | grep -qx "$name"; then
        echo "the kind cluster $name is there"
    else
        kind create cluster --config "$here/kind.yaml" --wait 180s
    fi
    ;;
load)
    shift
    for archive in "$@"; do
        kind load image-archive --name "$name" "$archive"
    done
    ;;
down)
    kind delete cluster --name "$name"
    ;;
*)
    echo "usage: kind.sh up | load ARCHIVE... | down" >&2
    exit 2
    ;;
esac
