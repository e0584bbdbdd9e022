#!/usr/bin/env bash
# tests/slurm/cluster.sh start|stop FOLDER: a Slurm of one node and one core on loopback, all of it in FOLDER.
# Needs Debian's slurm-wlm and munge, and root, but no systemd. Commands find it by SLURM_CONF=FOLDER/slurm.conf.
set -euo pipefail
verb=$1
folder=$(realpath "$2")
export SLURM_CONF=$folder/slurm.conf

start() {
    mkdir -p "$folder"/{state,spool,log}
    chmod 755 "$folder"
    local host ports
    host=$(hostname -s)
    read -ra ports < <(python3 -c 'import socket
found = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in found))')
    cat >"$SLURM_CONF" <<CONF
ClusterName=tokenprune
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
SlurmctldParameters=idle_on_node_suspend
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=2
InactiveLimit=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none
    chmod 400 "$folder/munge.key"
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed"
    slurmctld
    slurmd -b
    for _ in $(seq 100); do
        if [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; then
            return
        fi
        sleep 0.1
    done
    echo "error: the node is not idle after ten seconds; see $folder/log" >&2
    stop
    exit 1
}

stop() {
    scancel --state=PENDING --user=root 2>/dev/null || true
    scancel --signal=KILL --full --user=root 2>/dev/null || true
    local daemon pid
    for daemon in slurmd slurmctld munged; do
        [ -f "$folder/$daemon.pid" ] || continue
        pid=$(cat "$folder/$daemon.pid")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 100); do
            grep -q '^State:[[:space:]]*[^Z]' "/proc/$pid/status" 2>/dev/null || break
            sleep 0.05
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
}

"$verb"
