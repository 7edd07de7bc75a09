#!/bin/sh
# Run a pipeline, and stop it without losing state.
#
#   run.sh TAP LOADER [options of meltano run]
#
# If Meltano itself is stopped, it does not store the last state: the rows are loaded, and the next
# run loads them again. This script therefore passes SIGTERM, SIGINT and SIGHUP to the tap only, as
# SIGTERM. The tap ends after the current message, the loader commits, and Meltano stores the state
# and exits with 0. A second signal is passed to Meltano and both plugins, and ends the run at once.
#
# The exit code is Meltano's. For options that would go before `run`, set environment variables, such
# as MELTANO_CLI_LOG_LEVEL=debug. The script needs /proc, so it runs on Linux only. It may be process 1
# of a container.
set -u

# If nobody reads the log any more, the script must not end, and must still pass signals on. So this
# subshell ignores SIGPIPE.
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
# file as an argument. Discovery is excluded: it reads no messages, and a signal would make the run fail.
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

# Whether a process has a handler for SIGTERM, bit 14 of the mask. A process that has just started has
# no handler yet: the signal would kill it, and the run would fail.
handles_term() {
    while read -r name mask; do
        case $name$mask in SigCgt:*[4-7c-f]???) return 0 ;; esac
    done <"/proc/$1/status"
    return 1
} 2>/dev/null

# Stops each tap once, including taps that start later, since the run may have just begun.
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
        # Redirected, so that it does not keep the caller's pipes open after the end.
        sleep 1 >/dev/null 2>&1
        seconds=$((seconds + 1))
    done
}

on_signal() {
    signals=$((signals + 1))
    if [ -z "$meltano" ]; then
        : # Meltano is being started; handled below.
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

# In its own session, Meltano and the loader do not receive Ctrl-C from a terminal.
setsid meltano run "$@" &
meltano=$!
[ "$signals" -eq 0 ] || [ -n "$stopper" ] || on_signal

# A signal interrupts `wait`, which then does not return Meltano's exit code: wait again.
while :; do
    before=$signals
    wait "$meltano"
    code=$?
    # 127: an earlier `wait` has returned the exit code, just before a signal.
    [ "$code" -eq 127 ] || status=$code
    [ "$before" -ne "$signals" ] || break
done
[ -z "$stopper" ] || kill "$stopper" 2>/dev/null
exit "$status"
