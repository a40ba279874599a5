"""Files: wanted (tree), recorded (lock) and found (worktree)."""
