"""Where runs are executed: one module per executor."""
