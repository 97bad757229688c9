#!/usr/bin/env bash
# The runs that the leaderboard and docs/results/claims.md rest on, in order of what matters most:
#
#     benchmarks/evidence.sh OUT [option of dbench run ...]
#
# With results as OUT, finished records come to lie where the repository keeps them (weights are ignored by
# git). Finished runs are skipped and interrupted ones resumed: give the same command until it says that all is done. On two
# cores it takes days, on a recent GPU about an hour (--device cuda --runs-per-device 2). Use one kind of device per table.
set -euo pipefail
out=${1:?usage: benchmarks/evidence.sh OUT [option of dbench run ...]}
shift
run() { dbench run --protocol "${PROTOCOL:-cpu}" --yes "$@"; }

run --models all --datasets rooms3d --seeds 5 --out "$out/rooms3d-cpu" "$@"
run --models all --datasets dsprites_rendered --seeds "${DSPRITES_SEEDS:-3}" --out "$out/dsprites_rendered-cpu" "$@"
run --models q_vae,ae_ica --datasets rooms3d --seeds 3 --out "$out/rooms3d-cpu" "$@"
run --models factor_qvae --datasets rooms3d --seeds 3 --set model.embedding_dim=16 --out "$out/rooms3d-ablations" "$@"
run --models factor_qvae --datasets rooms3d --seeds 3 --set model.codebook=per_latent --out "$out/rooms3d-ablations" "$@"
# Dose against no dose, as version 1 of the protocol had it.
run --models q_vae,factor_qvae --datasets rooms3d --seeds 3 --set model.temperature_decay=1e-5 --out "$out/rooms3d-ablations" "$@"
run --models qlae --datasets rooms3d --seeds 3 --set model.weight_decay=0.1 --out "$out/rooms3d-ablations" "$@"
# Whether gamma is too small for this network and budget.
run --models factor_qvae --datasets rooms3d --seeds 3 --set model.gamma=1e-5,1e-3,1e-2 --out "$out/rooms3d-ablations" "$@"
