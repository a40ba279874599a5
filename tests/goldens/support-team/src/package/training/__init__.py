"""What watches over a training run: progress, checkpoints, stopping, failures, report."""
