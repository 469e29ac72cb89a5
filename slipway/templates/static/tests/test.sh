#!/bin/sh
# Serves ../site as nginx.conf says, but on a socket of its own, and asks for what has to be there.
set -eu

folder=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null || true; rm -rf "$scratch"' EXIT
sed -e "s|/tmp/|$scratch/|" -e "s|listen 8080;|listen unix:$scratch/socket;|" -e "s|/srv/site|$folder/site|" \
    "$folder/nginx.conf" >"$scratch/nginx.conf"

# ask PATH STATUS TEXT: the status of GET PATH, and a text that its body has
ask() {
    status=$(curl --silent --max-time 10 --output "$scratch/body" --write-out '%{http_code}' \
        --unix-socket "$scratch/socket" "http://localhost$1") || true
    if [ "$status" != "$2" ] || ! grep -q "$3" "$scratch/body"; then
        echo "FAILED: GET $1 answered $status, where $2 and '$3' were expected:"
        cat "$scratch/body"
        exit 1
    fi
    echo "passed: GET $1 answered $2"
}

nginx -e stderr -c "$scratch/nginx.conf" -t
nginx -e stderr -c "$scratch/nginx.conf" &
server=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -S "$scratch/socket" ] && break
    sleep 0.2
done
ask / 200 sample-service
ask /healthz 200 ok
ask /readyz 200 sample-service
ask /no-such-page 404 'Not found'
kill -QUIT "$server"
wait "$server"
echo "passed: it ends in order"
