#!/bin/sh
# Starts the agent of this machine in a container of its own, beside the composed installation. Needs its image and its .env in the current
# directory. docs/agent.md says what each right is for.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
value="$(sed -n 's/^HEADWATER_AGENT_TOKEN=//p' .env)"
if [ -z "$value" ]; then
  echo "start-agent: .env has no HEADWATER_AGENT_TOKEN; sh deploy/compose/make-env.sh makes one" >&2
  exit 1
fi
# By the environment, so that it is not among the arguments that every user of the machine can list.
HEADWATER_AGENT_TOKEN="$value" exec docker run --detach --name headwater-agent --restart unless-stopped \
  --pid host --network host --cgroupns host \
  --user 0:0 --cap-drop ALL --cap-add BPF --cap-add PERFMON --cap-add SYS_PTRACE --cap-add DAC_READ_SEARCH \
  --security-opt no-new-privileges:true --security-opt apparmor=unconfined \
  --read-only --cpus 0.5 --memory 512m --pids-limit 64 --stop-timeout 10 --no-healthcheck \
  --env HEADWATER_AGENT_TOKEN \
  --volume /sys/fs/cgroup:/sys/fs/cgroup:ro \
  --volume "$here/agent.yaml:/etc/headwater/agent.yaml:ro" \
  --entrypoint node headwater:0.1.0 --max-semi-space-size=2 --heap-growing-percent=40 /opt/headwater/dist/services/main.js agent --config /etc/headwater/agent.yaml
