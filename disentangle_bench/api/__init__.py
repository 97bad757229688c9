"""The Python interface: what ``import disentangle_bench`` offers beside the contracts."""
