#!/bin/sh
# Spectate by curl: publish where a runner is, then read it back.
#
#   publish.sh http://localhost:8080 TOKEN CODE LAT LNG
#
# A fix stays in a file until the server has it: without a network it goes with the next
# one. Private runners are not in the answers, which name no token.
set -eu
url=$1 token=$2 code=$3 lat=$4 lng=$5
queue=${SPECTATE_QUEUE:-spectate-queue}

# Waits as long as `Retry-After` says (429 and 503), else 1 s, 2 s, 4 s …
ask() {
    curl --silent --show-error --fail-with-body --max-time 20 --retry 5 "$@"
}

printf '{"lat": %s, "lon": %s, "timestamp": %s}\n' \
    "$lat" "$lng" "$(date +%s)" >>"$queue"

# Every 200 is for all of it: what `rejected` has is wrong for good. On 401 the queue
# stays: the token has ended, the fixes have not. On 400 nothing was understood.
ask --header "Authorization: Bearer $token" --header 'Content-Type: application/json' \
    --data "[$(paste -s -d , "$queue")]" "$url/intake/generic/"
rm "$queue"
echo

# Where the runner is now: ask again every five seconds with `since`, the `time` of the
# last answer; then `late` has what was stored meanwhile.
ask "$url/live.json?runners=$code"
echo
# The whole track, oldest first.
ask "$url/runners/$code/track.json"
echo
