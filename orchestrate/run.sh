#!/bin/sh
# Run a pipeline, and stop it without losing state.
#
#   run.sh TAP LOADER [options of meltano run]
#
# When Meltano itself is stopped, it does not store the last state: the rows are loaded, and
# the next run loads them again. This script therefore passes SIGTERM, SIGINT and SIGHUP on to the tap
# only, as SIGTERM. The tap ends after the current message, the loader commits, Meltano stores the
# state and exits with 0. A second signal is passed on to Meltano and both plugins; the run then ends
# at once.
#
# The exit code is Meltano's. Options that go before `run` are environment variables here, for example
# MELTANO_ENVIRONMENT=prod. The script needs /proc, so it runs on Linux; it may be process 1 of a
# container.
set -u

# Writing to a log that nobody reads any more must not end the script, nor keep it from passing a signal
# on: the subshell ignores SIGPIPE.
say() (
    trap '' PIPE
    printf 'run.sh: %s\n' "$*" >&2
)

# fail CODE MESSAGE
fail() {
    say "$2"
    exit "$1"
}

[ $# -ge 2 ] || fail 2 'usage: run.sh TAP LOADER [options of meltano run]'
for tool in meltano setsid sleep tr; do
    command -v "$tool" >/dev/null ||
        fail 127 "$tool is not in PATH; install it, or add its folder to PATH"
done
[ -r /proc/self/stat ] || fail 1 '/proc is not mounted; it is needed to find the tap and to stop it'

# Prints the process ids of this run's taps: processes in Meltano's session that have a tap's config
# file as an argument. During discovery nothing is read, and a signal would only make the run fail.
find_taps() {
    for folder in /proc/[0-9]*; do
        { read -r stat <"$folder/stat"; } 2>/dev/null || continue
        # After the command in parentheses: state, parent, process group, session.
        # shellcheck disable=SC2086
        set -- ${stat##*) }
        [ "${4-}" = "$meltano" ] || continue
        case "$(tr '\0' ' ' 2>/dev/null <"$folder/cmdline")" in
            *' --discover '*) ;;
            */tap.*.config.json\ *) echo "${folder#/proc/}" ;;
        esac
    done
}

# Whether a process has a handler for SIGTERM, bit 14 of the mask. A process that has only just started
# has none yet: the signal would kill it, and the run would fail.
handles_term() {
    while read -r name mask; do
        case $name$mask in SigCgt:*[4-7c-f]???) return 0 ;; esac
    done <"/proc/$1/status"
    return 1
} 2>/dev/null

# Stops each tap once, including taps that start later: the run may only just have begun.
stop_taps() {
    stopped=' '
    seconds=0
    while [ -d "/proc/$meltano" ]; do
        for tap in $(find_taps); do
            case $stopped in *" $tap "*) continue ;; esac
            if handles_term "$tap" || [ "$seconds" -ge 5 ]; then
                say "stopping the tap (process $tap); waiting for the loader and for Meltano"
                kill -s TERM "$tap"
                stopped="$stopped$tap "
            fi
        done
        # Its outputs are closed, so that it does not keep the caller's pipes open after the end.
        sleep 1 >/dev/null 2>&1
        seconds=$((seconds + 1))
    done
}

on_signal() {
    signals=$((signals + 1))
    if [ -z "$meltano" ]; then
        : # Meltano is just being started; handled below.
    elif [ -z "$stopper" ]; then
        stop_taps &
        stopper=$!
    else
        say 'second signal: stopping Meltano and its plugins; the last state may not be stored'
        kill -s TERM -- "-$meltano"
    fi
}

signals=0
meltano=
stopper=
status=1
# The kernel sends process 1 only signals that it has a trap for.
trap on_signal TERM INT HUP

# A session of its own keeps Ctrl-C in a terminal from reaching Meltano and the loader.
setsid meltano run "$@" &
meltano=$!
[ "$signals" -eq 0 ] || [ -n "$stopper" ] || on_signal

# A signal interrupts `wait`, whose code is then not Meltano's: wait again.
while :; do
    before=$signals
    wait "$meltano"
    code=$?
    # 127: an earlier `wait` has had the exit code, and a signal came just after it.
    [ "$code" -eq 127 ] || status=$code
    [ "$before" -ne "$signals" ] || break
done
[ -z "$stopper" ] || kill "$stopper" 2>/dev/null
exit "$status"
