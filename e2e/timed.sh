#!/bin/sh
# Runs a command and says how long it took: timed.sh NAME COMMAND...
# The lines that begin with `== ` are what .ci/run collects.
name=$1
shift
begin=$(date +%s)
"$@"
code=$?
printf '== %s: %s s%s\n' "$name" "$(($(date +%s) - begin))" "$([ $code -eq 0 ] || echo ", failed with $code")"
exit $code
