#!/bin/sh
# Makes the namespace that Patchbay works in, unless it is there. What a history tells is in Patchbay's own tables as well,
# so Temporal keeps closed ones for three days only.
set -eu
export TEMPORAL_NAMESPACE=default
temporal operator namespace describe >/dev/null 2>&1 || temporal operator namespace create --retention 72h

# The services read the list of namespaces every few seconds: it is there when one of them lets us work in it.
tries=0
until temporal workflow count >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ "$tries" -lt 120 ] || exec temporal workflow count
	sleep 0.25
done
