"""The cluster now: objects, rollouts, checks, drift, and why a rollout failed."""
