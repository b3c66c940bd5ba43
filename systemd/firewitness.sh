#!/bin/sh
# The commands of the installed Firewitness: on its settings unless --config says otherwise, and for root as its own user.
user=firewitness
program=/opt/firewitness/venv/bin/firewitness
# Where LoadCredential= puts passwords while the service runs.
export CREDENTIALS_DIRECTORY="${CREDENTIALS_DIRECTORY:-/run/credentials/firewitness.service}"
case "${1:-}" in
  '' | -*) set -- "$program" "$@" ;;
  *)
    command=$1
    shift
    set -- "$program" "$command" --config /etc/firewitness/config.yaml "$@"
    ;;
esac
if [ "$(id -u)" = 0 ]; then
  # systemd makes it with the service; before the first start, and after a stop, the commands want it too.
  [ -d /run/firewitness ] || install -d -o "$user" -g "$user" -m 0750 /run/firewitness
  exec setpriv --reuid="$user" --regid="$user" --init-groups -- "$@"
fi
exec "$@"
