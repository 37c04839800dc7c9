# Sourced by slurm/testcluster for `up --lab`: nodes that are apart as machines are. A login node and
# each compute node have a network, mounts and a host name of their own, compute nodes their own
# processes and shared memory, too. A bridge in the login node's network joins them; nothing of it is
# in the host's, and all of it goes with the processes that hold it: no name is left in /run/netns.
lab_network=10.77.0

lab_possible() {
  [ "$(id -u)" = 0 ] || fail "--lab needs root: it makes networks and mounts of their own"
  unshare --net --mount --uts --pid --fork true || fail "--lab: this host does not allow namespaces"
  command -v ip >/dev/null || fail "--lab: there is no ip: scripts/setup slurm installs it"
}
lab_cluster() {
  interface=eth0
  communication=
  node_address() { echo "NodeAddr=$lab_network.1$1"; }
  write_configuration "login($lab_network.1)"
  {
    echo "127.0.0.1 localhost"
    echo "$lab_network.1 login"
    for node in "${nodes[@]}"; do echo "$lab_network.1${node#n} $node"; done
  } >"$folder/hosts"
  start login unshare --net --uts --mount "$here/lab_node" login "$folder" "$lab_network.1"
  until_true 10 test -e "$folder/login.pid" || fail_up "the lab's login node does not come up"
  local program
  for program in sbatch srun salloc squeue scontrol sinfo scancel sacct sattach; do
    # A job inherits PATH; in it, on a node, the program itself must run.
    cat >"$folder/bin/$program" <<WORDS
#!/bin/sh
if [ "\$(readlink /proc/self/ns/net)" != "$(readlink /proc/self/ns/net)" ]; then
  exec $(command -v $program) "\$@"
fi
exec $(on_login) $(command -v $program) "\$@"
WORDS
    chmod +x "$folder/bin/$program"
  done
}
# The words that run a command on the login node, in the folder in which it was called.
on_login() { echo "nsenter -t $(cat "$folder/login.pid") --net --uts --mount --wd=."; }

# A switch that no longer forwards: no end of a connection hears of it.
cut_node() { nsenter -t "$(cat "$folder/login.pid")" --net ip link set "v$1" nomaster; }
heal_node() { nsenter -t "$(cat "$folder/login.pid")" --net ip link set "v$1" master br0; }
