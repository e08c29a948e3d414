"""Events posted to an HTTP endpoint."""
