"""The engine against misbehaving registries, failing disks and impatient users."""
