"""What every gateway shares: execute a decision, and the loop around the work queue."""
