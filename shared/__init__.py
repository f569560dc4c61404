"""What the gateway and the ML service must agree on, and nothing else."""
