"""Execution of runs: plans, executors, attempts and progress."""
