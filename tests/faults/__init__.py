"""The engine against a registry that misbehaves, a disk that fails, and a user who is impatient."""
