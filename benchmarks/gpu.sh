#!/usr/bin/env bash
# What a machine with a CUDA GPU and an ordinary PyTorch installation can do with this suite, in under nine minutes and
# without a network:
#
#     benchmarks/gpu.sh OUT [STAGE ...]
#
# Stages: tests (the CUDA tests), updates (milliseconds per update), layouts (memory formats), shared (several runs on
# one GPU), evidence (runs of the cpu protocol, kept as records). Each has its own time limit and writes its results as they come, as JSON
# lines in OUT/speed.jsonl and run folders in OUT/results, so that a cut leaves what was done. The package is taken
# from this checkout. DEVICE=cpu and TINY=1 make everything small, for a test of the script itself.
set -uo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
out=${1:?usage: benchmarks/gpu.sh OUT [STAGE ...]}
shift
[ $# -gt 0 ] || set -- tests updates layouts shared evidence
device=${DEVICE:-cuda} tiny=${TINY:-}
mkdir -p "$out"
out=$(cd "$out" && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
cd "$here" || exit 2

limit() { # seconds, of which TINY takes a third, and the command
  local seconds=$1
  shift
  timeout --signal=INT --kill-after=20 "${tiny:+$((seconds / 3))}${tiny:-$seconds}" "$@"
}

stage() {
  local began=$SECONDS status=0
  "$@" || status=$?
  echo "{\"stage\": \"$1\", \"seconds\": $((SECONDS - began)), \"status\": $status}" | tee -a "$out/stages.jsonl"
}

tests() {
  limit 100 python3 -m pytest -q -p no:cacheprovider -n "${TEST_PROCESSES:-6}" tests/training/test_devices.py \
    -k "cuda or captured" >"$out/tests.txt" 2>&1
  local status=$?
  tail -n 15 "$out/tests.txt"
  return $status
}

updates() { limit 110 python3 benchmarks/gpu.py updates --device "$device" ${tiny:+--tiny} --out "$out/speed.jsonl"; }

layouts() { limit 60 python3 benchmarks/gpu.py layouts --device "$device" ${tiny:+--tiny} --out "$out/speed.jsonl"; }

shared() { limit 60 python3 benchmarks/gpu.py shared --device "$device" ${tiny:+--tiny} --out "$out/speed.jsonl"; }

evidence() {
  local protocol=cpu models=all seeds=${SEEDS:-5}
  [ -z "$tiny" ] || protocol=smoke models=beta_vae,factor_qvae seeds=1
  for dataset in ${DATASETS:-rooms3d dsprites_rendered}; do
    limit "${EVIDENCE_SECONDS:-90}" python3 -m disentangle_bench run --models "$models" --datasets "$dataset" \
      --protocol "$protocol" --seeds "$seeds" --device "$device" --runs-per-device "${RUNS_PER_DEVICE:-8}" --yes \
      ${EVIDENCE_OPTIONS:-} --out "$out/results/$dataset" >"$out/evidence-$dataset.txt" 2>&1
    tail -n 3 "$out/evidence-$dataset.txt"
  done
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null | tee "$out/card.txt"
for name in "$@"; do stage "$name"; done
