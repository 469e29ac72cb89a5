"""What is in the cluster now: rollouts, drift, and whether it is what the state says."""
