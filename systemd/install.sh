#!/usr/bin/env bash
# install.sh install|uninstall: what `make install` and `make uninstall` do, as root. Repeatable.
# PREFIX, ETC, UNITS, STORE, STATE, RUN, COMMAND, SERVICE_USER, SYSTEMCTL, PYTHON and EXTRAS come from the Makefile, with their defaults.
set -euo pipefail
umask 022 # whatever root's own is: the service's user must be able to read what is installed
cd "$(dirname "$0")/.."
unit=$UNITS/firewitness.service
drop_ins=$unit.d

say() { printf '%s\n' "$*"; }
fail() { say "make $action: $*" >&2; exit 1; }
as_service() { setpriv --reuid="$SERVICE_USER" --regid="$SERVICE_USER" --init-groups -- "$@"; }
systemd_runs() { [ "$("$SYSTEMCTL" is-system-running 2>/dev/null || true)" != offline ] && "$SYSTEMCTL" show >/dev/null 2>&1; }
placed() { sed -e "s#/opt/firewitness#$PREFIX#g; s#/etc/firewitness#$ETC#g; s#/srv/firewitness#$STORE#g; s#/var/lib/firewitness#$STATE#g; s#/run/firewitness#$RUN#g" \
  -e "s#^\(User\|Group\)=firewitness#\1=$SERVICE_USER#" "$1"; }

make_user() {
  id -u "$SERVICE_USER" >/dev/null 2>&1 && return
  useradd --system --user-group --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin "$SERVICE_USER"
  say "user      $SERVICE_USER, new"
}

make_venv() {
  "${MAKE:-make}" --no-print-directory setup VENV="$PREFIX/venv" PROJECT=. PYTHON="$PYTHON" EXTRAS="$EXTRAS"
  # Once more for an upgrade: `setup` only follows the requirements, and the version need not have changed.
  "$PREFIX/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --force-reinstall .
  install -D -m 0644 -t "$PREFIX/doc" docs/*.md
  as_service "$PREFIX/venv/bin/firewitness" --version >/dev/null 2>&1 ||
    fail "$SERVICE_USER cannot run $PREFIX/venv/bin/firewitness: $(readlink -f "$PREFIX/venv/bin/python") must be open to all users." \
      "Name a Python of the system: make install PYTHON=/usr/bin/python3 (after: rm -r $PREFIX/venv)"
  say "program   $PREFIX/venv, $("$PREFIX/venv/bin/firewitness" --version)"
}

make_config() {
  install -d -o root -g "$SERVICE_USER" -m 0750 "$ETC"
  local new
  new=$(mktemp)
  sed -e "s#^  root: var/store  *\##  root: $STORE    \##; s#^  \# state_dir: var/state #  state_dir: $STATE #" \
    -e "s#^  \# runtime_dir: var/run #  runtime_dir: $RUN #" config.yaml >"$new"
  if [ ! -e "$ETC/config.yaml" ]; then
    install -o root -g "$SERVICE_USER" -m 0640 "$new" "$ETC/config.yaml"
    say "settings  $ETC/config.yaml, new: name your cameras in it"
  elif [ ! -e "$ETC/config.yaml.shipped" ] || ! cmp -s "$new" "$ETC/config.yaml.shipped"; then
    say "settings  $ETC/config.yaml stays; new keys: diff $ETC/config.yaml $ETC/config.yaml.shipped"
  else
    say "settings  $ETC/config.yaml stays"
  fi
  install -o root -g "$SERVICE_USER" -m 0640 "$new" "$ETC/config.yaml.shipped"
  rm "$new"
}

make_folders() {
  install -d -o "$SERVICE_USER" -g "$SERVICE_USER" -m 0750 "$STATE"
  # A folder that is there may be a mounted disk with its own mode; only its owner must be right.
  [ -d "$STORE" ] || install -d -m 0750 "$STORE"
  chown "$SERVICE_USER:$SERVICE_USER" "$STORE"
  say "evidence  $STORE"
}

make_unit() {
  install -d "$UNITS"
  placed systemd/firewitness.service | install -m 0644 /dev/stdin "$unit"
  optional gpu.conf systemd/firewitness.service.d/gpu.conf "$([ "$EXTRAS" = gpu ] && echo yes || echo no)"
  optional notify-reload.conf systemd/notify-reload.conf "$(has_notify_reload && echo yes || echo no)"
  # The commands for whoever runs the host: on the service's settings, and as its user, so that nothing of root's lies in the store.
  install -d "$(dirname "$COMMAND")"
  placed systemd/firewitness.sh | sed "s#^user=.*#user=$SERVICE_USER#" | install -m 0755 /dev/stdin "$COMMAND"
  say "service   $unit, command $COMMAND"
}

optional() {
  if [ "$3" = yes ]; then
    install -D -m 0644 "$2" "$drop_ins/$1"
  else
    rm -f "$drop_ins/$1"
  fi
}

has_notify_reload() {
  local version
  version=$("$SYSTEMCTL" --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
  [ "${version:-0}" -ge 253 ]
}

install_all() {
  make_user
  make_venv
  make_config
  make_folders
  make_unit
  if systemd_runs; then
    "$SYSTEMCTL" daemon-reload
    "$SYSTEMCTL" try-restart firewitness # an upgrade of a running one
    say "Next: edit $ETC/config.yaml, then $COMMAND check-config, $COMMAND doctor, and $SYSTEMCTL enable --now firewitness."
  else
    say "systemd does not run here: nothing was loaded or started."
    say "Next: edit $ETC/config.yaml, then $COMMAND check-config, $COMMAND doctor; $SYSTEMCTL enable --now firewitness once systemd runs."
  fi
}

uninstall_all() {
  if systemd_runs; then
    "$SYSTEMCTL" disable --now firewitness 2>/dev/null || true # it may never have been enabled
  fi
  rm -f "$unit" "$drop_ins/gpu.conf" "$drop_ins/notify-reload.conf" "$COMMAND"
  rmdir --ignore-fail-on-non-empty "$drop_ins" 2>/dev/null || true # an operator's own drop-ins stay
  rm -rf "${PREFIX:?}/venv" "${PREFIX:?}/doc"
  rmdir --ignore-fail-on-non-empty "$PREFIX" 2>/dev/null || true
  if systemd_runs; then "$SYSTEMCTL" daemon-reload; fi
  say "Removed: the service and its program. Kept: the evidence in $STORE, the settings in $ETC, what is known of the disks in $STATE," \
    "and the user $SERVICE_USER, to whom the evidence belongs."
}

action=${1:-}
[ "$(id -u)" = 0 ] || fail "this changes the system: run it as root (sudo make $action)"
case $action in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *) fail "there are install and uninstall" ;;
esac
