#!/bin/sh
# install.sh haproxy|nginx|chromium: installs it by the system's package manager when it is missing and we may; else says what to do.
set -eu
name=$1
case $name in
haproxy) program=${HAPROXY:-haproxy} what="HAProxy 2.6 or later" ;;
nginx) program=${NGINX:-nginx} what=nginx ;;
chromium) program=${CHROMIUM:-chromium} what=Chromium ;;
*) echo "haproxy, nginx or chromium, not $name" >&2; exit 2 ;;
esac
PATH=$PATH:/usr/sbin
command -v "$program" >/dev/null 2>&1 && exit 0
debian=$name
[ "$name" = nginx ] && debian=nginx-light
say() { echo "$what is needed and not installed. $*" >&2; exit 1; }
if [ "$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else
    say "Install it as root, for example: apt-get install $debian"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing $name ..." >&2
if command -v apt-get >/dev/null; then
    # No service: only the program is wanted, not a proxy that starts by itself.
    { $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q "$debian"; } >"$log" 2>&1
elif command -v dnf >/dev/null; then $sudo dnf install -y -q "$name" >"$log" 2>&1
elif command -v apk >/dev/null; then $sudo apk add -q "$name" >"$log" 2>&1
elif command -v pacman >/dev/null; then $sudo pacman -S --noconfirm --quiet "$name" >"$log" 2>&1
elif command -v brew >/dev/null; then brew install -q "$name" >"$log" 2>&1
else say "No package manager that this script knows was found."
fi || { tail -n 5 "$log" >&2; say "The package manager failed (above)."; }
