#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# After an install: the engine answers, and a container of the bundle's own test image runs and stops.
# Takes TIDEGATE_TEST_IMAGE. Prints `[LEVEL] key=value` lines; exit code 0 when all is well.
set -eu

image=${TIDEGATE_TEST_IMAGE:?TIDEGATE_TEST_IMAGE names the test image}
name=tidegate-verify-$$
trap 'docker rm --force "$name" >/dev/null 2>&1 || true' EXIT

echo "[INFO] engine_version=$(docker version --format '{{.Server.Version}}')"
echo "[INFO] compose_version=$(docker compose version --short)"
docker run --detach --name "$name" --network none "$image" >/dev/null
running=$(docker inspect --format '{{.State.Running}}' "$name")
docker stop --time 5 "$name" >/dev/null
if [ "$running" != true ]; then
  echo "[ERROR] test_container=did_not_run"
  exit 1
fi
echo "[INFO] test_container=ran_and_stopped"
