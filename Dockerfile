# syntax=docker/dockerfile:1
# One image for every role: docker build -t headwater:0.1.0 .
# Without arguments the container is the embedded platform with its data in /var/lib/headwater; `--role NAMES --config FILE` makes it a role.
# The agent is another command of the same program, with rights of its own: deploy/kubernetes/40-agent.yaml, deploy/compose/start-agent.sh.

FROM node:20-bookworm-slim AS build
# What compiles the agent's programs for the kernel, and the addon that loads them.
RUN apt-get update && apt-get install -y --no-install-recommends g++ clang llvm libbpf-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Installs from the lock file (npm ci), compiles and builds the page, as on any other machine.
RUN npm run build
# The set-up goes on without a compiler; an image without an agent would be noticed too late.
RUN test -f dist/native/kernel.node && test -f dist/bpf/connection.bpf.o
# What only tests and builds need stays behind.
RUN npm prune --omit=dev && rm -rf node_modules/.headwater

FROM node:20-bookworm-slim
ENV NODE_ENV=production
# The agent's addon loads it.
RUN apt-get update && apt-get install -y --no-install-recommends libbpf1 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/headwater
# The working directory belongs to root: a process that was taken over cannot change the program. Only the data directory can be written.
RUN mkdir -p /etc/headwater /var/lib/headwater && chown 1000:1000 /var/lib/headwater
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/dist ./dist
# The user `node` of the base image, as a number, so that Kubernetes can see that it is not root.
USER 1000:1000
# 4318 gateway (OTLP over HTTP), 4319 store, 8080 page and API, 9464 health of a role.
EXPOSE 4318 4319 8080 9464
# A role answers on its health port, the embedded platform on the port of the API.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "Promise.any([9464, 8080].map(async (port) => { if (!(await fetch(`http://127.0.0.1:${port}/livez`)).ok) throw port; })).then(() => process.exit(0), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/headwater/dist/services/main.js", "start"]
CMD ["--data", "/var/lib/headwater"]
