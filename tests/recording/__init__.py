"""Records on the lab what tests read: failing Deployments, engine events of updates and previews, states of a stack."""
